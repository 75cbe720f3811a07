//! A server that answers as a test tells it to, for what no real registry can be made to do.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use zuwai_testkit::http::Head;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub authorization: Option<String>,
    /// Names as they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A field of the form in the body, decoded.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(&self.body);
        fields.find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
    }
}

/// What to answer.
#[derive(Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// Pieces; before each but the first, `pause` is called.
    pub pieces: Vec<Vec<u8>>,
    /// Content-Length, if it is not the true one.
    pub length: Option<usize>,
    pub pause: Option<Box<dyn Fn() + Send>>,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn body(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, pieces: vec![body.into()], ..Self::default() }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// A running server; its threads end with the process.
pub struct Stub {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Starts a server on a free port. `GET /v2/` is answered with 200 unless `answer` says something else.
    pub fn start(answer: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (record, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (record, answer) = (record.clone(), answer.clone());
                std::thread::spawn(move || {
                    let _ = serve(connection, &record, &*answer);
                });
            }
        });
        Self { address, asked }
    }

    /// All requests so far.
    pub fn all_asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The requests so far, without the ones that ask whether a registry is there.
    pub fn asked(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.target != "/v2/").cloned().collect()
    }
}

fn serve(
    mut connection: TcpStream,
    record: &Mutex<Vec<Asked>>,
    answer: &(dyn Fn(&Asked) -> Option<Reply> + Sync),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    // What begins with a TLS record is no request: hang up, as plain servers do in one way or another.
    if reader.fill_buf()?.first() == Some(&0x16) {
        connection.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n")?;
        return Ok(());
    }
    let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
    let mut body = Vec::new();
    head.body(&mut reader).read_to_end(&mut body)?;
    let authorization = head.header("authorization").map(str::to_owned);
    let Head { method, target, headers } = head;
    let asked = Asked { method, target, authorization, headers, body };
    record.lock().unwrap().push(asked.clone());
    let reply = answer(&asked).unwrap_or_else(|| match asked.target.as_str() {
        "/v2/" => Reply::body(200, "{}"),
        _ => Reply::status(404),
    });
    let length = reply.length.unwrap_or_else(|| reply.pieces.iter().map(Vec::len).sum());
    let mut head =
        format!("HTTP/1.1 {} x\r\nContent-Length: {length}\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    connection.write_all((head + "\r\n").as_bytes())?;
    if asked.method == "HEAD" {
        return Ok(());
    }
    for (index, piece) in reply.pieces.iter().enumerate() {
        if let Some(pause) = reply.pause.as_ref().filter(|_| index > 0) {
            pause();
        }
        connection.write_all(piece)?;
        connection.flush()?;
    }
    Ok(())
}
