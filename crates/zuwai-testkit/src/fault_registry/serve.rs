//! Connections: each request is logged, meets its fault, and is answered or not.

use std::cell::Cell;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::answer::{Answer, cut};
use super::api::Asked;
use super::fault::{Cut, Fault, Loss, Operation, RetryAfter};
use super::{State, tokens};
use crate::http::Head;

/// Requests of one connection, until it ends.
pub(super) fn serve(mut connection: TcpStream, state: &State, is_storage: bool) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 << 10, connection.try_clone()?);
    loop {
        // What begins with a TLS record is no request: plain servers say so in plain words.
        if reader.fill_buf()?.first() == Some(&0x16) {
            return connection.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        }
        let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
        if head.header("expect").is_some() {
            connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let received = Cell::new(0);
        let mut body = Counted { body: head.body(&mut reader), count: &received };
        let entry = state.note(&head, is_storage);
        let exchange = Exchange { state, head: &head, is_storage, entry, received: &received };
        match exchange.answer(&mut body, &mut connection) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                state.amend(entry, received.get(), 0);
                cut(&mut connection, Cut::Reset)?;
                return Err(error);
            }
        }
    }
}

/// One request and its answer; what answers tells whether the connection can be used again.
struct Exchange<'a> {
    state: &'a State,
    head: &'a Head,
    is_storage: bool,
    /// Its place in the log.
    entry: usize,
    /// How much of its body came.
    received: &'a Cell<u64>,
}

impl Exchange<'_> {
    fn answer(&self, body: &mut impl Read, connection: &mut TcpStream) -> io::Result<bool> {
        let head = self.head;
        let Some(operation) = Operation::of(head) else {
            io::copy(body, &mut io::sink())?;
            return self.send(Answer::status(404), connection, None);
        };
        // A request that lacks its token meets no fault but the ping, which shows none.
        let admitted = self.is_admitted(operation);
        let meets_fault = admitted || operation == Operation::Ping;
        let fault = meets_fault.then(|| self.state.strike(operation, head)).flatten();
        if let Some(sent) = self.refuse(operation, fault.as_ref(), body, connection)? {
            return Ok(sent);
        }
        let asked = Asked { state: self.state, head, operation, fault: fault.as_ref() };
        let mut answer = match admitted {
            true => asked.carry_out(body)?,
            false => self.challenge(operation),
        };
        io::copy(body, &mut io::sink())?;
        match &fault {
            Some(Fault::Lost(Loss::Reset)) => {
                return self.end(connection, Cut::Reset);
            }
            Some(Fault::Lost(Loss::Status(status, code))) => {
                answer = Answer::refusal(*status, code, "so it is said");
            }
            Some(fault) => answer = answer.spoil(fault),
            None => {}
        }
        self.send(answer, connection, fault.as_ref())
    }

    fn is_admitted(&self, operation: Operation) -> bool {
        let is_open = self.is_storage || operation == Operation::Token;
        is_open || self.state.tokens.as_ref().is_none_or(|own| own.admit(self.head, operation))
    }

    fn challenge(&self, operation: Operation) -> Answer {
        tokens::challenge(&self.state.address.to_string(), self.head, operation)
    }

    /// What goes wrong before anything is done.
    fn refuse(
        &self,
        operation: Operation,
        fault: Option<&Fault>,
        body: &mut impl Read,
        connection: &mut TcpStream,
    ) -> io::Result<Option<bool>> {
        let refusal = |status: u16| Answer::refusal(status, code(status), "as ordered");
        let answer = match fault {
            Some(Fault::Status(status)) => refusal(*status),
            Some(Fault::Refusal(status, code, message)) => Answer::refusal(*status, code, message),
            Some(Fault::Later(status, when)) => refusal(*status).header("Retry-After", &written(*when)),
            Some(Fault::Expired) => {
                if let Some(tokens) = &self.state.tokens {
                    tokens.forget(self.head);
                }
                self.challenge(operation)
            }
            Some(Fault::Reset) => {
                return self.end(connection, Cut::Reset).map(Some);
            }
            Some(Fault::Silent) => {
                io::copy(body, &mut io::sink())?;
                return self.end(connection, Cut::Stall).map(Some);
            }
            Some(Fault::BodyLimit(_)) => {
                self.send(refusal(413).header("Connection", "close"), connection, None)?;
                linger(connection)?;
                return Ok(Some(false));
            }
            _ => return Ok(None),
        };
        io::copy(body, &mut io::sink())?;
        self.send(answer, connection, None).map(Some)
    }

    fn send(&self, answer: Answer, connection: &mut TcpStream, fault: Option<&Fault>) -> io::Result<bool> {
        // Noted before the client can know.
        self.state.amend(self.entry, self.received.get(), answer.status);
        answer.send(connection, fault, self.head.method == "HEAD")
    }

    /// Ends the connection without an answer.
    fn end(&self, connection: &mut TcpStream, how: Cut) -> io::Result<bool> {
        self.state.amend(self.entry, self.received.get(), 0);
        cut(connection, how)?;
        Ok(false)
    }
}

/// Lets an answer that came before the request's end arrive, as nginx does: closing at once would reset the connection.
fn linger(connection: &mut TcpStream) -> io::Result<()> {
    connection.shutdown(Shutdown::Write)?;
    connection.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut rest = vec![0; 64 << 10];
    while connection.read(&mut rest).is_ok_and(|read| read > 0) {}
    Ok(())
}

/// The code that goes with a status (distribution spec, "Error Codes").
fn code(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        404 => "",
        413 => "SIZE_INVALID",
        416 => "BLOB_UPLOAD_INVALID",
        429 => "TOOMANYREQUESTS",
        503 => "UNAVAILABLE",
        _ => "UNKNOWN",
    }
}

fn written(when: RetryAfter) -> String {
    match when {
        RetryAfter::Seconds(seconds) => seconds.to_string(),
        RetryAfter::Date(time) => http_date(time),
    }
}

/// A time as HTTP writes it (RFC 9110, 5.6.7).
fn http_date(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap();
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap()
}

/// A body that knows how much of it came.
struct Counted<'c, R> {
    body: R,
    count: &'c Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

/// Takes connections until the registry is dropped.
pub(super) fn accept(listener: &std::net::TcpListener, state: &Arc<State>, is_storage: bool) {
    for connection in listener.incoming().flatten() {
        if state.is_closed() {
            return;
        }
        let state = state.clone();
        state.connections.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            // How a connection ended is the client's to tell.
            let _ = serve(connection, &state, is_storage);
            state.connections.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_wants_them() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
