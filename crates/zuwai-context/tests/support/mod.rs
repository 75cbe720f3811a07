//! Servers for tests, and a fetcher to try them with.

// Each test uses some of it.
#![allow(dead_code)]

pub mod git_server;
pub mod ssh_server;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Runtime;
use zuwai_context::remote::Fetcher;
use zuwai_oci::{Registry, RegistryOptions};

/// A request as the server saw it: method and target, and the headers with lower-case names.
#[derive(Clone, Debug)]
pub struct Seen {
    pub target: String,
    pub headers: BTreeMap<String, String>,
}

/// What the server answers: the head's lines without the last empty one, and the body.
pub type Answer = (String, Vec<u8>);

/// A web server on 127.0.0.1 whose answers are a function of the request. It closes every connection after its answer.
pub struct WebServer {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl WebServer {
    pub fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (seen.clone(), Arc::new(answer));
        // Ends with the process: an idle thread that waits in accept.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (log.clone(), answer.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &log, &*answer));
            }
        });
        Self { port, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Seen>>, answer: &dyn Fn(&Seen) -> Answer) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let headers = lines.by_ref().take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    });
    let seen =
        Seen { target: first.split(' ').nth(1).unwrap_or_default().to_owned(), headers: headers.collect() };
    log.lock().unwrap().push(seen.clone());
    let (head, body) = answer(&seen);
    // A client that has gone is not the server's trouble.
    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(&body);
    if head.contains("X-Stall") {
        std::thread::sleep(Duration::from_secs(600));
    }
}

/// The parts of a fetcher.
pub struct Network {
    runtime: Runtime,
    registry: Registry,
}

impl Network {
    pub fn new(stall_timeout: Duration) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let registry =
            Registry::new(RegistryOptions { stall_timeout, ..RegistryOptions::default() }).unwrap();
        Self { runtime, registry }
    }

    pub fn fetcher(&self) -> Fetcher<'_> {
        Fetcher::new(&self.registry, self.runtime.handle())
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new(Duration::from_secs(60))
    }
}
