"""The server's side of a connection: uvicorn's, and what it lacks for clients that are slow, half gone or hostile.

- A client that has sent its requests and closed its half of the connection gets the answers.
- A request that stops arriving, or trickles in, gets 408: each READ_SECONDS must bring READ_RATE bytes a second.
- Bytes that are no HTTP get their answer in the form of all others.
- A server that is to end gives requests that are not answered a stated time, then answers them 503.
- Closing does not cut off the answer: what a client still sends is taken up and dropped for LINGER_SECONDS. (A system
  resets a connection that is closed with unread bytes, and the client may lose the answer by that.)
"""

import asyncio
import contextlib
import http

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from keras_vit.export.devserver.rest import format_error
from keras_vit.system.limits import LINGER_SECONDS, READ_RATE, READ_SECONDS

HALF_CLOSED = "half_closed"  # in the state of a request: its client sends no more
UNFINISHED = (h11.IDLE, h11.SEND_BODY)  # states of a client that has not sent all of a request


class Server(uvicorn.Server):
    """Uvicorn's server, which lets requests whose time is up say so to their clients before the process ends.

    Args:
        config: uvicorn's.
        at_end: called when the server begins to end; must not wait.
    """

    def __init__(self, config, at_end=lambda: None):
        super().__init__(config)
        self._at_end = at_end

    async def shutdown(self, sockets=None):
        self._at_end()
        await super().shutdown(sockets)
        if self.server_state.tasks:  # cancelled
            await asyncio.wait(self.server_state.tasks, timeout=1)
        for connection in list(self.server_state.connections):
            connection.transport.leave()
        await asyncio.sleep(0.01)


class Connection(H11Protocol):
    """A connection to one client.

    Args:
        read_seconds: each such time must bring READ_RATE bytes a second of a request that is not complete.
        named: `H11Protocol`'s own.
    """

    def __init__(self, read_seconds=READ_SECONDS, **named):
        super().__init__(**named)
        self._read_seconds, self._watch = read_seconds, None
        self._read, self._read_before, self._at_end = 0, 0, False

    def connection_made(self, transport):
        super().connection_made(PoliteTransport(transport, self.loop, self._may_still_send))
        self._watch_reading(anew=True)

    def connection_lost(self, exc):
        self._stop_watching()
        self.transport.lost()
        super().connection_lost(exc)

    def data_received(self, data):
        if self.transport.is_closing():
            return
        begins = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        self._read += len(data)
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # an answer was given before the request was at its end, which is no HTTP
            self.transport.close()
        self._watch_reading(anew=begins)

    def eof_received(self):
        """The client sends no more; true where it still gets an answer."""
        self._at_end = True
        if self.transport.is_closing():
            self.transport.finish()
        else:
            self._end()
        return True

    def on_response_complete(self):
        super().on_response_complete()  # begins with the next request, if it is there
        if self._at_end and not self.transport.is_closing():
            self._end()
        self._watch_reading(anew=True)

    def shutdown(self):
        if not self.transport.is_closing():
            super().shutdown()

    def send_400_response(self, msg):
        self.refuse(400, msg)

    def refuse(self, status, message):
        """Answer a request that cannot be read to its end, unless it has been answered; then close."""
        body = format_error(message)
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
        reason = http.HTTPStatus(status).phrase.encode()
        start = h11.Response(status_code=status, headers=headers, reason=reason)
        answer = [start, h11.Data(data=body), h11.EndOfMessage()]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            if self.conn.our_state is h11.SEND_RESPONSE and self.scope["method"] == "HEAD":
                del answer[1]
            self.transport.write(b"".join(map(self.conn.send, answer)))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # ends what waits for the rest of the request
            self.cycle.message_event.set()
        self.transport.close()

    def _end(self):
        """The client sends no more: answer what is complete, then close."""
        if self._is_answering():
            self.scope["state"][HALF_CLOSED] = True
        elif self._has_begun():
            self.refuse(400, "The request ends before it is complete.")
        else:
            self.transport.close()

    def _is_answering(self):
        """Whether a request is complete and not yet answered."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _has_begun(self):
        """Whether a part of a request is there."""
        return self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])

    def _may_still_send(self):
        return not self._at_end and (self.conn.their_state is h11.ERROR or self._has_begun())

    def _watch_reading(self, anew):
        """Have `_look` called while the rest of a request is to come."""
        waits = self.conn.their_state in UNFINISHED and not self.transport.is_closing()
        if anew or not waits:
            self._stop_watching()
        if waits and self._watch is None:
            self._read_before = self._read
            self._watch = self.loop.call_later(self._read_seconds, self._look)

    def _stop_watching(self):
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self):
        self._watch = None
        if self._read - self._read_before >= self._read_seconds * READ_RATE:
            self._watch_reading(anew=True)
        elif self._has_begun():
            self.refuse(408, f"Too little of the request came in {self._read_seconds:g} seconds.")
        else:
            self.transport.close()


class PoliteTransport:
    """A transport that is closed only when its client has had time to read what was written.

    Args:
        transport: asyncio's.
        loop: the event loop.
        may_still_send: whether the client may be sending; then its bytes are taken up for a while.
    """

    def __init__(self, transport, loop, may_still_send):
        self._transport, self._loop, self._may_still_send = transport, loop, may_still_send
        self._timer, self._unsent = None, 0

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def is_closing(self):
        return self._timer is not None or self._transport.is_closing()

    def close(self):
        """Say the end after what was written, and close when the client does, or when nothing moves any more."""
        if self.is_closing():
            return
        if self._may_still_send():
            self._transport.resume_reading()
            with contextlib.suppress(OSError):  # it is gone
                self._transport.write_eof()
        else:
            self._transport.close()
        self._wait()

    def write(self, content):
        """Write, unless the end was said."""
        if self._timer is None:
            self._transport.write(content)

    def finish(self):
        """The client has closed its half, too."""
        self._transport.close()

    def leave(self):
        """Close now: the system sends what it has, and what it has no room for is lost."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def lost(self):
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self):
        self._unsent = self._transport.get_write_buffer_size()
        self._timer = self._loop.call_later(LINGER_SECONDS, self._look)

    def _look(self):
        unsent = self._transport.get_write_buffer_size()
        if not unsent:
            self._transport.close()
        elif unsent < self._unsent:
            self._wait()
        else:
            self._transport.abort()  # nobody reads
