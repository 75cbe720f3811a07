//! A certificate authority of a test's own.

use std::path::{Path, PathBuf};

use crate::command::must;

/// A certificate authority and a server certificate for `localhost` and `127.0.0.1`, made by `openssl`.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// Certificate of the authority, PEM.
    pub authority: PathBuf,
    /// Certificate of the server, PEM.
    pub certificate: PathBuf,
    /// Key of the server, PEM.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes all of it in `dir`.
    ///
    /// # Panics
    /// If `openssl` fails.
    #[must_use]
    pub fn make(dir: &Path) -> Self {
        let path = |name: &str| dir.join(name);
        let text = |name: &str| path(name).display().to_string();
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let mut arguments: Vec<String> =
            ["req", "-x509"].iter().chain(&curve).map(ToString::to_string).collect();
        arguments.extend(["-days", "30", "-subj", "/CN=zuwai test authority"].map(str::to_owned));
        arguments.extend(["-addext", "basicConstraints=critical,CA:TRUE"].map(str::to_owned));
        arguments.extend(["-keyout".to_owned(), text("ca.key"), "-out".to_owned(), text("ca.crt")]);
        must("openssl", &arguments);

        let mut arguments: Vec<String> = ["req"].iter().chain(&curve).map(ToString::to_string).collect();
        arguments.extend(["-subj", "/CN=localhost", "-keyout"].map(str::to_owned));
        arguments.extend([text("server.key"), "-out".to_owned(), text("server.csr")]);
        must("openssl", &arguments);

        let extensions = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n";
        std::fs::write(path("server.ext"), extensions).unwrap();
        let arguments = [
            "x509".to_owned(),
            "-req".to_owned(),
            "-in".to_owned(),
            text("server.csr"),
            "-CA".to_owned(),
            text("ca.crt"),
            "-CAkey".to_owned(),
            text("ca.key"),
            "-CAcreateserial".to_owned(),
            "-days".to_owned(),
            "30".to_owned(),
            "-out".to_owned(),
            text("server.crt"),
            "-extfile".to_owned(),
            text("server.ext"),
        ];
        must("openssl", &arguments);
        Self { authority: path("ca.crt"), certificate: path("server.crt"), key: path("server.key") }
    }
}
