//! A token server: what stands in front of most public registries (the "Docker Registry v2 Bearer token specification").
//!
//! Tokens are JSON Web Tokens signed with RS256 by `openssl`, with the certificate in the `x5c` header, as `docker-registry` wants.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use tempfile::TempDir;

use crate::command::{must, program};
use crate::http::Head;
use crate::registry::{PASSWORD, USER};

/// The service that tokens are for.
pub const SERVICE: &str = "test-registry";
/// Who issues them.
pub const ISSUER: &str = "test-issuer";

/// A token server on a free port: anybody gets a token to pull, [`USER`] with [`PASSWORD`] one for all that was asked; a wrong
/// password is refused.
#[derive(Debug)]
pub struct TokenServer {
    address: SocketAddr,
    dir: Arc<TempDir>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl TokenServer {
    /// Starts one; it ends with the process.
    ///
    /// # Panics
    /// If `openssl` fails or no port is free.
    #[must_use]
    pub fn start() -> Self {
        let dir = Arc::new(crate::cache::scratch("token"));
        let text = |name: &str| dir.path().join(name).display().to_string();
        let arguments =
            ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=test-issuer"];
        let files = ["-keyout".to_owned(), text("token.key"), "-out".to_owned(), text("token.crt")];
        must("openssl", arguments.iter().map(ToString::to_string).chain(files));
        let der = must(
            "openssl",
            ["x509".to_owned(), "-in".to_owned(), text("token.crt"), "-outform".into(), "PEM".into()],
        );
        let chain: String = der.lines().filter(|line| !line.starts_with("-----")).collect();

        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, folder) = (Arc::clone(&requests), Arc::clone(&dir));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let _ = answer(connection, folder.path(), &chain, &log);
            }
        });
        Self { address, dir, requests }
    }

    /// The URL that a registry names in its challenge.
    #[must_use]
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// The certificate of the key that signs the tokens.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("token.crt")
    }

    /// The requests so far: `METHOD TARGET USER`, with `-` for nobody.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Answers one request and closes.
fn answer(
    mut connection: TcpStream,
    dir: &Path,
    chain: &str,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
    let (method, target) = (&head.method, &head.target);
    let mut body = String::new();
    head.body(&mut reader).read_to_string(&mut body)?;
    let fields = if method == "POST" { crate::http::fields(&body) } else { head.query() };
    let field =
        |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value.as_str());

    let basic = head.header("authorization").and_then(|value| value.strip_prefix("Basic ")).map(|value| {
        let bytes = STANDARD.decode(value).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split_once(':').map_or((text.clone(), String::new()), |(u, p)| (u.to_owned(), p.to_owned()))
    });
    let given = match field("grant_type") {
        "password" => Some((field("username").to_owned(), field("password").to_owned())),
        "refresh_token" => Some((USER.to_owned(), field("refresh_token").to_owned())),
        _ => basic,
    };
    log.lock()
        .unwrap()
        .push(format!("{method} {target} {}", given.as_ref().map_or("-", |(user, _)| user.as_str())));
    if given.as_ref().is_some_and(|(user, password)| user != USER || password != PASSWORD) {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#;
        let length = body.len();
        write!(
            connection,
            "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        return Ok(());
    }
    let scopes = fields.iter().filter(|(name, _)| name == "scope").flat_map(|(_, value)| value.split(' '));
    let token = token(dir, chain, given.is_some(), scopes);
    let body = json!({"token": token, "access_token": token, "expires_in": 300}).to_string();
    let length = body.len();
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// A signed token for the actions asked in `scopes` (`repository:NAME:pull,push`); only `pull` for nobody.
fn token<'a>(dir: &Path, chain: &str, known: bool, scopes: impl Iterator<Item = &'a str>) -> String {
    let access: Vec<_> = scopes
        .filter_map(|scope| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            let actions: Vec<_> = actions.split(',').filter(|action| known || *action == "pull").collect();
            Some(json!({"type": kind, "name": name, "actions": actions}))
        })
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = json!({"alg": "RS256", "typ": "JWT", "x5c": [chain]});
    let claims = json!({
        "iss": ISSUER, "aud": SERVICE, "sub": if known { USER } else { "" },
        "iat": now, "nbf": now - 5, "exp": now + 300, "jti": format!("{now}"), "access": access,
    });
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let mut openssl = program("openssl");
    openssl.args(["dgst", "-sha256", "-sign"]).arg(dir.join("token.key"));
    let mut child = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(signed.as_bytes()).unwrap();
    let signature = child.wait_with_output().unwrap().stdout;
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
