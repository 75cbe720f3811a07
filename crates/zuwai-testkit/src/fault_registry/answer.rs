//! An answer, and the ways in which it reaches the client or does not.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use super::fault::{Cut, Fault};

/// Part of a file, or bytes.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    File { path: PathBuf, start: u64, length: u64 },
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    fn reader(self) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
            Self::File { path, start, length } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(start))?;
                Box::new(file.take(length))
            }
        })
    }
}

/// What the registry says.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content: Content,
}

impl Answer {
    pub(super) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Content::Bytes(Vec::new()) }
    }

    pub(super) fn json(status: u16, document: &serde_json::Value) -> Self {
        let content = Content::Bytes(document.to_string().into_bytes());
        Self { content, ..Self::status(status) }.header("Content-Type", "application/json")
    }

    /// An error in the distribution spec's form.
    pub(super) fn refusal(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &serde_json::json!({"errors": [{"code": code, "message": message}]}))
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(own, _)| *own != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Changes what the fault changes before anything is sent.
    pub(super) fn spoil(mut self, fault: &Fault) -> Self {
        match fault {
            Fault::WrongDigest => self.header("Docker-Content-Digest", &format!("sha256:{}", "0".repeat(64))),
            Fault::NoContentType => {
                self.headers.retain(|(name, _)| *name != "Content-Type");
                self
            }
            Fault::Oversize(spaces) => {
                if let Content::Bytes(bytes) = &mut self.content {
                    bytes.resize(bytes.len() + spaces, b' ');
                }
                self
            }
            _ => self,
        }
    }

    /// Sends it, as far as the fault lets it; `true` if the connection can be used again.
    pub(super) fn send(self, to: &mut TcpStream, fault: Option<&Fault>, is_head: bool) -> io::Result<bool> {
        let mut length = self.content.len();
        let mut keep = true;
        if let Some(Fault::WrongLength(more)) = fault {
            (length, keep) = (length + more, false);
        }
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.status != 204 {
            head += &format!("Content-Length: {length}\r\n");
        }
        to.write_all((head + "\r\n").as_bytes())?;
        if is_head || self.status == 204 {
            return Ok(keep);
        }
        let mut body = self.content.reader()?;
        match fault {
            Some(Fault::CutAnswer { after, how }) => {
                io::copy(&mut body.take(*after), to)?;
                cut(to, *how)?;
                return Ok(false);
            }
            Some(Fault::Corrupt { at }) => {
                io::copy(&mut body.by_ref().take(*at), to)?;
                let mut byte = [0];
                if body.read(&mut byte)? == 1 {
                    to.write_all(&[byte[0] ^ 1])?;
                }
                io::copy(&mut body, to)?;
            }
            Some(Fault::Drip(pause)) => drip(&mut body, to, *pause)?,
            _ => {
                io::copy(&mut body, to)?;
            }
        }
        Ok(keep)
    }
}

fn drip(body: &mut dyn Read, to: &mut TcpStream, pause: Duration) -> io::Result<()> {
    let mut byte = [0];
    while body.read(&mut byte)? == 1 {
        to.write_all(&byte)?;
        std::thread::sleep(pause);
    }
    Ok(())
}

/// Ends a connection, or keeps it open without another word until the peer closes it.
pub(crate) fn cut(connection: &mut TcpStream, how: Cut) -> io::Result<()> {
    match how {
        Cut::Reset => {
            // A reset throws away what is still to be sent: what was written shall arrive first.
            std::thread::sleep(Duration::from_millis(20));
            rustix::net::sockopt::set_socket_linger(&*connection, Some(Duration::ZERO))?;
        }
        Cut::Close => {}
        Cut::Stall => {
            let mut rest = [0; 4096];
            while connection.read(&mut rest).is_ok_and(|read| read > 0) {}
        }
    }
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Request Entity Too Large",
        416 => "Requested Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
