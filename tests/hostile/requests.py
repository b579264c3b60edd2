"""Hostile HTTP requests as Hypothesis strategies: the bytes that a client sends, and how it ends."""

import base64
import json
from dataclasses import dataclass

from hypothesis import strategies
from hypothesis.strategies import sampled_from

from tests.hostile.mutations import mutated

PREDICT = b"POST /v1/models/toys:predict HTTP/1.1\r\nHost: x\r\n"
OCCLUSION = b"POST /page/occlusion?model=toys&class=0 HTTP/1.1\r\nHost: x\r\n"
STATUS = b"GET /v1/models/toys HTTP/1.1\r\nHost: x\r\n\r\n"
SIZES = sampled_from([0, 1, 2, 3, 30, 63, 64, 65, 99, 100, 101, 300, 900, 4301, 5000, 70_000])
ENDS = ("half-close", "half-close", "half-close", "half-close", "abort", "hang")


@dataclass(frozen=True)
class Exchange:
    """What a client sends; then it closes its half and reads, or resets the connection, or goes on doing nothing."""

    sent: bytes
    end: str = "half-close"


def with_length(body, start=PREDICT):
    return start + b"Content-Length: %d\r\n\r\n" % len(body) + body


def predict(**request):
    return with_length(json.dumps(request).encode())


def b64(content):
    return {"b64": base64.b64encode(content).decode()}


NUMBERS = sampled_from(["9", "-9", "0.1", "1.1", "1e9", "1E-9", "-", "1e", "0", "NaN", "-Infinity"])
SCALARS = sampled_from(
    ['"x"', '""', "null", "true", "{}", "[]", '{"b64": ""}', '{"b64": "A"}', '{"b64": 1}', '{"b64": "aGV=", "a": 1}']
    + ['{"image_bytes": "x"}', '{"images": 1}', '"\\ud800"', '"\\', "1e400", "1e-400", "2147483648", "'x'", "\0"]
)


@strategies.composite
def long_numbers(draw):
    number = draw(NUMBERS)
    return number[:-1] + number[-1] * draw(SIZES)


@strategies.composite
def nested(draw):
    """A value within lists and objects, that may not be closed as they were opened."""
    levels, value = draw(SIZES), draw(SCALARS | long_numbers())
    opening, closing = draw(
        sampled_from([("[", "]"), ('{"a":', "}"), ('{"b64":', "}"), ("[[],", "]"), ("[1,", ",[2]]")])
    )
    return opening * levels + value + closing * draw(sampled_from([levels, levels, levels, 0, levels + 1]))


VALUES = SCALARS | long_numbers() | nested()


@strategies.composite
def documents(draw):
    """JSON for a predict request, and what looks like it."""
    values = draw(strategies.lists(VALUES, max_size=4))
    key = draw(sampled_from(["instances", "inputs", "instances", "images", ""]))
    name = draw(sampled_from(['"predict_images"', '"serving_default"', '"features"', '""', "1", "null", '"none"']))
    value = draw(sampled_from(["[{}]", "[[{}]]", '{{"image_bytes": [{}]}}', '{{"images": {}}}', "{}"])).format(
        ",".join(values)
    )
    more = draw(sampled_from(["", "", ', "more": ' + draw(VALUES), ', "inputs": [1]', "}", ", "]))
    text = f'{{"signature_name": {name}, "{key}": {value}{more}}}'
    encoding = draw(sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-7"]))
    return with_length(text.encode(encoding, "surrogatepass"))


@strategies.composite
def paths(draw):
    """Requests for models, versions and pages that nobody has."""
    digits = draw(sampled_from(["0", "1", "9", "-1", "٣", "1e", " "])) * draw(SIZES)
    text = draw(strategies.text(sampled_from("%0a/:.?#\\éﬁ;=&toys1 \t"), max_size=20))
    path = draw(
        sampled_from(
            [f"/v1/models/toys/versions/{digits}", f"/v1/models/toys/versions/{digits}:predict", f"/v1/models/{text}"]
            + [f"/page/occlusion?model=toys&version={digits}", f"/page/occlusion?model=toys&class={digits}", f"/{text}"]
            + [
                f"/page/occlusion?model=toys{'&class=0' * len(digits)}",
                f"http://x/{text}",
                "*",
                f"/v1/models/toys/labels/{text}",
            ]
        )
    )
    method = draw(sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "TRACE", "CONNECT", "X", ""]))
    version = draw(sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", ""]))
    body = draw(sampled_from([b"", b"{}", b'{"instances": ["x"]}']))
    return with_length(body, f"{method} {path} {version}\r\nHost: x\r\n".encode())


LENGTHS = sampled_from(
    ["0", "3", "00", "+3", "-1", "3, 3", "3, 4", "1e3", "0x3", "", " ", "²", "99999999999", "9" * 21, "9" * 5000]
)
CODINGS = sampled_from(["chunked", "Chunked", " chunked", "chunked, chunked", "gzip, chunked", "identity", "", "x"])
FIELDS = sampled_from(
    [b"Expect: 100-continue", b"Expect: x", b"Connection: close", b"Connection: upgrade", b"Upgrade: websocket"]
    + [b"Host: [::1", b"Host: y", b"X: " + b"a" * 70_000, b"X: \0", b"X: \xff", b": x", b"X", b" folded", b"X : y"]
    + [b"X-Forwarded-For: [", b"X-Forwarded-Proto: \xe9", b"Content-Type: multipart/form-data", b"Range: bytes=9-1"]
    + [
        b"Content-Encoding: gzip",
        b"If-None-Match: " + b'"' * 99,
        b"Transfer-Encoding : chunked",
        b"a: b\r\n" * 200 + b"c: d",
    ]
)


@strategies.composite
def headers(draw):
    """Two opinions about where a request ends, and other fields."""
    fields = draw(strategies.lists(FIELDS, max_size=3))
    fields += [b"Content-Length: " + draw(LENGTHS).encode("latin-1") for _ in range(draw(strategies.integers(0, 2)))]
    fields += [b"Transfer-Encoding: " + draw(CODINGS).encode() for _ in range(draw(strategies.integers(0, 2)))]
    fields = draw(strategies.permutations(fields))
    body = draw(sampled_from([b"", b"{}\n", b"3\r\n{}\n\r\n0\r\n\r\n", b"0\r\n\r\n" + STATUS]))
    ends = draw(sampled_from([b"\r\n", b"\r\n", b"\n", b"\r"]))
    return draw(sampled_from([PREDICT, OCCLUSION, STATUS[:-2]])) + ends.join([*fields, b"", body])


CHUNKS = sampled_from([b"1", b"5", b"05", b"5;a=b", b"5 ", b"-5", b"0x5", b"", b"z", b"f" * 17, b"10000000", b"5\n5"])


@strategies.composite
def chunks(draw):
    """Chunked bodies, whose chunks may be of another size than they say."""
    content = b"".join(
        size + b"\r\n" + body + draw(sampled_from([b"\r\n", b"\r\n", b"", b"\n"]))
        for size, body in draw(
            strategies.lists(strategies.tuples(CHUNKS, sampled_from([b"{}\n  ", b"{", b""])), max_size=4)
        )
    )
    end = draw(
        sampled_from([b"0\r\n\r\n", b"0\r\nTrailer: x\r\n\r\n", b"0\r\n", b"00\r\n\r\n", b"0\r\nX\r\n\r\n", b""])
    )
    return PREDICT + b"Transfer-Encoding: chunked\r\n\r\n" + content + end


def damaged_images(images):
    """Images of files' bytes that were changed, for a signature and for the page."""
    changed = mutated(images)
    listed = strategies.lists(changed, min_size=1, max_size=3)
    signature = sampled_from(["serving_default", "features"])
    asked = strategies.builds(
        lambda name, some: predict(signature_name=name, instances=[*map(b64, some)]), signature, listed
    )
    return asked | changed.map(lambda content: with_length(content, OCCLUSION))


def exchanges(images):
    """Any hostile exchange, around images that are valid."""
    valid = [predict(instances=[b64(image)]) for image in images] + [with_length(images[0], OCCLUSION), STATUS]
    broken = mutated([*valid, PREDICT + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"])
    one = (
        documents() | paths() | headers() | chunks() | damaged_images(images) | broken | strategies.binary(max_size=300)
    )
    several = strategies.lists(one | sampled_from(valid), min_size=2, max_size=3).map(b"".join)
    return strategies.builds(Exchange, one | one | several, sampled_from(ENDS))
