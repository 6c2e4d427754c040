"""Who is told: pure rules, incidents with episodes, a transactional outbox, receivers."""
