"""What the tests of AWS-style stores are told: keys and places of the front before moto."""

from core.secrets import Secret
from tests.fakes.aws_front import KEY_ID, KEY_SECRET, REGION

KEYS = {
    "access_key_id": Secret.inline(KEY_ID),
    "secret_access_key": Secret.inline(KEY_SECRET),
}
SIGNED = {"region": REGION, "keys": KEYS}
FRONT = "tests.fakes.aws_front"
