"""moto's S3, CloudWatch Logs and X-Ray behind a front with what moto lacks, in its own process.

moto checks no signature, knows no filter expression and pages no summaries, and takes any number
of trace ids. The front holds every signature against botocore's, answers GetTraceSummaries from
the segments that passed it, in pages of 20, and refuses more than 5 trace ids in one call. What
passed is forgotten by a request to `/front/forget`: canaries of different tests share traces.
Source: docs.aws.amazon.com, "Create a signed AWS API request", the X-Ray API reference, 2026-11.

    python -m tests.fakes.aws_front
"""

import json
import re
import sys
import time
from dataclasses import dataclass, field
from io import BytesIO

from tests.fakes.child import say

KEY_ID, KEY_SECRET = "AKIACOALMINETEST", "front/secret+key"
REGION, NAME = "eu-central-1", "coalmine"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/\d{8}/([\w-]+)/(\w+)/aws4_request,\s*"
    r"SignedHeaders=([\w;-]+),\s*Signature=([0-9a-f]{64})"
)
_CLAUSE = re.compile(r'annotation\.(\w+) = ("(?:[^"\\]|\\.)*")|service\(("(?:[^"\\]|\\.)*")\)')
_TRACE_ID = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}")
_SUMMARIES = 20


class RefusedError(Exception):
    """Status, name and words of a refusal."""

    def __init__(self, status: int, code: str, told: str) -> None:
        self.status, self.code, self.told = status, code, told
        super().__init__(told)


@dataclass
class Front:
    """A WSGI application around moto's; `taken`: arrival, and the segment that arrived."""

    moto: object
    taken: list[tuple[float, dict]] = field(default_factory=list)

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        path = environ["PATH_INFO"]
        if path == "/front/forget":
            self.taken.clear()
            return said(start_response, 200, b"{}")
        s3 = "HTTP_X_AMZ_CONTENT_SHA256" in environ
        try:
            service = checked(environ, body)
            if service == "xray":
                answer = self.traces(path, body)
                if answer is not None:
                    return said(start_response, 200, json.dumps(answer).encode())
        except RefusedError as exc:
            return said(start_response, exc.status, *words(exc, s3=s3))
        return self.moto(environ, start_response)

    def traces(self, path, body):
        """The front's own answer, None where moto's will do."""
        asked = json.loads(body)
        if path == "/Traces":
            ids = asked.get("TraceIds", [])
            if len(ids) > 5 or not all(_TRACE_ID.fullmatch(one) for one in ids):
                raise RefusedError(400, "InvalidRequestException", "at most 5 well-formed ids")
        if path == "/TraceSegments":
            for document in asked["TraceSegmentDocuments"]:
                self.taken.append((time.time(), json.loads(document)))
        return self.summaries(asked) if path == "/TraceSummaries" else None

    def summaries(self, asked):
        """GetTraceSummaries by the time of arrival (`Event`), filtered and paged."""
        start, end = float(asked["StartTime"]), float(asked["EndTime"])
        if asked.get("TimeRangeType") != "Event" or end - start > 6 * 3600 or end <= start:
            raise RefusedError(400, "InvalidRequestException", "a range of at most 6 hours")
        clauses = parsed(asked.get("FilterExpression", ""))
        found = {}
        for at, segment in self.taken:
            if start <= at <= end and all(holds(segment) for holds in clauses):
                found[segment["trace_id"]] = True
        whole = {}
        for _, segment in self.taken:
            whole.setdefault(segment["trace_id"], []).append(segment)
        first = int(asked.get("NextToken", "0"))
        page = list(found)[first : first + _SUMMARIES]
        answer = {
            "TraceSummaries": [summary(whole[one]) for one in page],
            "ApproximateTime": time.time(),
        }
        if first + _SUMMARIES < len(found):
            answer["NextToken"] = str(first + _SUMMARIES)
        return answer


def summary(segments):
    """What X-Ray indexes of a trace: annotations of all its segments, each value once."""
    annotations = {}
    for segment in segments:
        for name, value in segment.get("annotations", {}).items():
            shown = {"AnnotationValue": {"StringValue": value}, "ServiceIds": []}
            kept = annotations.setdefault(name, [])
            if shown not in kept:
                kept.append(shown)
    return {
        "Id": segments[0]["trace_id"],
        "StartTime": min(segment["start_time"] for segment in segments),
        "Annotations": annotations,
        "IsPartial": False,
    }


def parsed(expression):
    """Conditions joined by AND; anything else is a refusal."""
    found, rest = [], expression
    while rest:
        match = _CLAUSE.match(rest)
        if not match:
            raise RefusedError(400, "InvalidRequestException", f"filter: {rest[:80]}")
        found.append(condition(*match.groups()))
        rest = rest[match.end() :].removeprefix(" AND ")
    return found


def condition(name, value, service):
    if service is not None:
        wanted = json.loads(service)
        return lambda segment: segment["name"] == wanted
    wanted = json.loads(value)
    return lambda segment: segment.get("annotations", {}).get(name) == wanted


def checked(environ, body):
    """The service that is signed for. Raises RefusedError for a signature that is none of ours."""
    from botocore.auth import S3SigV4Auth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    header = environ.get("HTTP_AUTHORIZATION", "")
    if not header:
        raise RefusedError(403, "MissingAuthenticationToken", "no Authorization header")
    match = _AUTHORIZATION.fullmatch(header)
    if not match:
        raise RefusedError(403, "IncompleteSignature", f"not readable: {header}")
    key_id, region, service, names, signature = match.groups()
    if key_id != KEY_ID:
        code = "InvalidAccessKeyId" if service == "s3" else "UnrecognizedClientException"
        raise RefusedError(403 if service == "s3" else 400, code, f"no such key: {key_id}")
    url = f"http://{environ['HTTP_HOST']}{environ['REQUEST_URI']}"
    headers = {name: header_of(environ, name) for name in names.split(";") if name != "host"}
    request = AWSRequest(environ["REQUEST_METHOD"], url, headers=headers, data=body)
    request.context["timestamp"] = headers["x-amz-date"]
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    own = kind(Credentials(KEY_ID, KEY_SECRET), service, region)
    text = own.string_to_sign(request, own.canonical_request(request))
    if own.signature(text, request) != signature:
        raise RefusedError(
            403, "SignatureDoesNotMatch", f"another signature: {own.canonical_request(request)}"
        )
    return service


def header_of(environ, name):
    plain = name.upper().replace("-", "_")
    return environ.get(f"HTTP_{plain}", environ.get(plain, ""))


def words(exc, *, s3):
    if s3:
        text = f"<Error><Code>{exc.code}</Code><Message>refused</Message></Error>"
        return text.encode(), "application/xml"
    return json.dumps({"__type": exc.code, "message": exc.told}).encode(), "application/json"


def said(start_response, status, body, kind="application/json"):
    head = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(f"{status} X", head)
    return [body]


def prepare(url):
    """Bucket, log group and stream that the cases are told of."""
    import boto3

    about = {
        "endpoint_url": url, "region_name": REGION,
        "aws_access_key_id": KEY_ID, "aws_secret_access_key": KEY_SECRET,
    }  # fmt: skip
    place = {"LocationConstraint": REGION}
    boto3.client("s3", **about).create_bucket(Bucket=NAME, CreateBucketConfiguration=place)
    logs = boto3.client("logs", **about)
    logs.create_log_group(logGroupName=NAME)
    logs.create_log_stream(logGroupName=NAME, logStreamName=NAME)


def main():
    import logging
    import threading

    import moto
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    app = Front(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    url = f"http://127.0.0.1:{server.port}"
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    prepare(url)
    say(url, f"moto {moto.__version__}")
    sys.stderr.flush()
    serving.join()


if __name__ == "__main__":
    main()
