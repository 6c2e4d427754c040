"""The vocabulary of Coalmine as types: the leaf that every other package stands on."""
