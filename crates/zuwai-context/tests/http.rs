//! `ADD` of a URL, from real servers on 127.0.0.1.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, missing_docs)]

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use support::{Answer, Network, Seen, WebServer};
use zuwai_context::remote::{Authorization, Checksum, FetchedFile, HttpOptions, RemoteError, RemoteSource};
use zuwai_oci::Secret;

const HELLO: &str = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn ok(headers: &str, body: &[u8]) -> Answer {
    (format!("200 OK{headers}\r\nContent-Length: {}", body.len()), body.to_vec())
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A server with an answer for every case.
fn server() -> WebServer {
    WebServer::start(|seen: &Seen| match seen.target.split('?').next().unwrap() {
        "/dated" => ok("\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT", b"hello\n"),
        "/named" => ok("\r\nContent-Disposition: attachment; filename=\"other\"", b"hello\n"),
        "/gzip" => ok("\r\nContent-Encoding: gzip", &gzipped(b"hello\n")),
        "/file.gz" => ok("", &gzipped(b"hello\n")),
        "/chunked" => {
            ("200 OK\r\nTransfer-Encoding: chunked".to_owned(), b"6\r\nhello\n\r\n0\r\n\r\n".to_vec())
        }
        "/gone" => ("404 Not Found\r\nContent-Length: 0".to_owned(), Vec::new()),
        "/moved" => ("302 Found\r\nLocation: /dated\r\nContent-Length: 0".to_owned(), Vec::new()),
        "/loop" => ("302 Found\r\nLocation: /loop?sig=hunter2\r\nContent-Length: 0".to_owned(), Vec::new()),
        "/away" => {
            let to = seen.target.split_once('?').unwrap().1;
            (format!("307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0"), Vec::new())
        }
        "/short" => ("200 OK\r\nContent-Length: 100".to_owned(), b"hello\n".to_vec()),
        "/stall" => ("200 OK\r\nX-Stall: 1\r\nContent-Length: 100".to_owned(), b"hello\n".to_vec()),
        "/private" if !seen.headers.contains_key("authorization") => {
            ("401 Unauthorized\r\nContent-Length: 0".to_owned(), Vec::new())
        }
        _ => ok("", b"hello\n"),
    })
}

struct Fetched {
    result: Result<FetchedFile, RemoteError>,
    directory: tempfile::TempDir,
}

impl Fetched {
    fn error(self) -> RemoteError {
        let left: Vec<_> = fs::read_dir(self.directory.path()).unwrap().collect();
        assert!(left.is_empty(), "a failed fetch leaves nothing: {left:?}");
        self.result.unwrap_err()
    }
}

fn fetch_with(network: &Network, url: &str, options: &HttpOptions) -> Fetched {
    let directory = tempfile::tempdir().unwrap();
    let Some(Ok(RemoteSource::Http(source))) = RemoteSource::parse(url) else { panic!("{url}") };
    Fetched { result: network.fetcher().fetch_http(&source, directory.path(), options), directory }
}

fn fetch(url: &str) -> Fetched {
    fetch_with(&Network::default(), url, &HttpOptions::default())
}

#[test]
fn a_file_has_buildkits_name_mode_and_time() {
    let server = server();
    for (path, name, mtime) in [
        ("/dated", "dated", 1_445_412_480),
        ("/named", "named", 0),
        ("/moved", "moved", 1_445_412_480),
        ("/gzip", "gzip", 0),
        ("/chunked", "chunked", 0),
        ("/", "__unnamed__", 0),
    ] {
        let fetched = fetch(&server.url(path));
        let file = fetched.result.unwrap();
        assert_eq!(file.path, fetched.directory.path().join(name));
        let metadata = fs::metadata(&file.path).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o600, mtime), "{path}");
        assert_eq!(fs::read(&file.path).unwrap(), b"hello\n", "{path}");
        assert_eq!(file.size, 6);
    }
    let compressed = fetch(&server.url("/file.gz"));
    let bytes = fs::read(compressed.result.unwrap().path).unwrap();
    assert_eq!(bytes, gzipped(b"hello\n"), "a file that is compressed itself stays as it is");
}

#[test]
fn a_checksum_is_of_what_is_kept() {
    let server = server();
    let network = Network::default();
    for path in ["/dated", "/gzip"] {
        let options =
            HttpOptions { checksum: Some(Checksum::parse(HELLO).unwrap()), ..HttpOptions::default() };
        fetch_with(&network, &server.url(path), &options).result.unwrap();
        let wrong = format!("sha256:{}", "0".repeat(64));
        let options =
            HttpOptions { checksum: Some(Checksum::parse(&wrong).unwrap()), ..HttpOptions::default() };
        let error = fetch_with(&network, &server.url(path), &options).error();
        let expected = format!("cannot fetch {}: digest mismatch {HELLO}: {wrong}", server.url(path));
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn failures_name_host_path_and_status_and_no_secret() {
    let server = server();
    for (path, problem) in [
        ("/gone", "invalid response status 404"),
        ("/loop", "stopped after 10 redirects"),
        ("/private", "invalid response status 401"),
        ("/short", "the connection failed"),
    ] {
        let error = fetch(&server.url(&format!("{path}?sig=hunter2"))).error();
        assert_eq!(error.to_string(), format!("cannot fetch {}: {problem}", server.url(path)));
        let all = format!("{error:?} {:?}", error.hint());
        assert!(!all.contains("hunter2"), "{all}");
    }
    let error = fetch(&server.url("/away?ftp://host/file")).error().to_string();
    assert!(error.ends_with("redirected to an address with the scheme ftp"), "{error}");
    let hint = fetch(&server.url("/private")).error().hint().unwrap();
    assert!(hint.contains("HTTP_AUTH_TOKEN_127.0.0.1 or"), "{hint}");
}

#[test]
fn a_server_that_cannot_be_reached_is_told() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = fetch(&format!("http://127.0.0.1:{free}/a")).error();
    assert_eq!(error.to_string(), format!("cannot fetch http://127.0.0.1:{free}/a: cannot connect"));
}

#[test]
fn a_server_that_stalls_is_given_up() {
    let server = server();
    let network = Network::new(Duration::from_secs(1));
    let error = fetch_with(&network, &server.url("/stall"), &HttpOptions::default()).error();
    assert!(matches!(error, RemoteError::Timeout { seconds: 1, .. }), "{error:?}");
}

#[test]
fn credentials_go_to_the_source_alone() {
    let (own, other) = (server(), server());
    let network = Network::default();
    let authorization = Authorization::bearer(&Secret::new("hunter2"));
    let options = HttpOptions { authorization, ..HttpOptions::default() };
    fetch_with(&network, &own.url("/private"), &options).result.unwrap();
    fetch_with(&network, &own.url(&format!("/away?{}", other.url("/a"))), &options).result.unwrap();
    let shown = |server: &WebServer| {
        server.seen().iter().map(|seen| seen.headers.get("authorization").cloned()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&own), vec![Some("Bearer hunter2".to_owned()); 2]);
    assert_eq!(shown(&other), [None]);
    let with_user = own.url("/private").replace("//", "//me:p%40ss@");
    fetch_with(&network, &with_user, &HttpOptions::default()).result.unwrap();
    assert_eq!(shown(&own)[2].as_deref(), Some("Basic bWU6cEBzcw=="));
}
