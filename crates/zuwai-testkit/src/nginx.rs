//! Debian's nginx as the proxy in front of a registry, with the limits that proxies have.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::server::Server;

/// A running nginx on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct Nginx {
    port: u16,
    // Before the folder, so that the server ends before its files go.
    _server: Server,
    _dir: TempDir,
}

impl Nginx {
    /// In front of the server at `upstream` (`http://HOST:PORT`). `http` is put into the configuration's `http` block, and
    /// `location` into the block that passes requests on.
    ///
    /// # Panics
    /// If it does not start, with what it said.
    #[must_use]
    pub fn before(upstream: &str, http: &str, location: &str) -> Self {
        Self::start(upstream, http, "", "", location)
    }

    /// As [`Nginx::before`], over HTTPS with these certificates; `server` is put into the `server` block.
    ///
    /// # Panics
    /// If it does not start, with what it said.
    #[must_use]
    pub fn before_with_tls(
        upstream: &str,
        certificates: &Certificates,
        server: &str,
        location: &str,
    ) -> Self {
        let (certificate, key) = (certificates.certificate.display(), certificates.key.display());
        let server = format!("ssl_certificate {certificate}; ssl_certificate_key {key}; {server}");
        let forwarded = format!("proxy_set_header X-Forwarded-Proto https; {location}");
        Self::start(upstream, "", "ssl", &server, &forwarded)
    }

    fn start(upstream: &str, http: &str, listen: &str, server: &str, location: &str) -> Self {
        let dir = crate::cache::scratch("nginx");
        let path = dir.path().display();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let user = if crate::need::is_root() { "user root;" } else { "" };
        let text = format!(
            "{user} daemon off; pid {path}/pid; error_log stderr; events {{}}
             http {{
               access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
               fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
               {http}
               server {{
                 listen 127.0.0.1:{port} {listen};
                 {server}
                 location / {{ proxy_pass {upstream}; proxy_set_header Host $http_host; {location} }}
               }}
             }}\n"
        );
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        let arguments = ["-c".to_owned(), file.display().to_string(), "-p".to_owned(), path.to_string()];
        let mut process = Server::start("nginx", &arguments, dir.path(), |_| {});
        process.wait_until(Duration::from_secs(20), |_| {
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        Self { port, _server: process, _dir: dir }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:PORT/NAME`.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }
}
