//! A file from a web server, as `ADD` of a URL fetches it.

use std::ffi::OsString;
use std::fs::{File, FileTimes, OpenOptions};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, LAST_MODIFIED, LOCATION};
use reqwest::{Response, StatusCode};
use url::Url;

use crate::remote::checksum::Checksum;
use crate::remote::error::{IoContext as _, RemoteError};
use crate::remote::fetcher::{Authorization, Fetcher};
use crate::remote::http_body::{Body, Sink};
use crate::remote::http_date;
use crate::remote::location::{location, percent_decoded};

/// Most redirects that are followed, as in Go's client.
const REDIRECT_LIMIT: usize = 10;

/// The address of a file on a web server.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpSource {
    url: Url,
    file_name: OsString,
}

/// What else counts when a file is fetched.
#[derive(Debug, Clone, Default)]
pub struct HttpOptions {
    /// What the file must be.
    pub checksum: Option<Checksum>,
    /// Who we are to the source's own server; no other one that a redirect leads to is told. In place of a user and
    /// password in the address.
    pub authorization: Option<Authorization>,
}

/// A file that was fetched: mode 0600, modified when the server says that it was, or else at the start of 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
}

impl HttpSource {
    /// Reads an address that begins with `http://` or `https://`.
    pub(crate) fn parse(text: &str) -> Result<Self, url::ParseError> {
        Ok(Self { url: Url::parse(text)?, file_name: file_name(text) })
    }

    /// The name that the file gets in a directory, from the last part of the path as BuildKit's `ADD` takes it. A
    /// name that the server proposes (`Content-Disposition`) does not count.
    pub fn file_name(&self) -> &OsString {
        &self.file_name
    }

    /// The host without its port: the end of a secret's name (`HTTP_AUTH_TOKEN_<host>`, `HTTP_AUTH_HEADER_<host>`).
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Scheme, host, port and path, for messages.
    pub fn location(&self) -> String {
        location(&self.url)
    }
}

impl std::fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpSource({})", self.location())
    }
}

/// Go's `path.Base` of the decoded path, with BuildKit's words for what gives no name.
fn file_name(text: &str) -> OsString {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let path = percent_decoded(rest.find('/').map_or("", |slash| &rest[slash..]));
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let start = path[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    match &path[start..end] {
        b"" | b"." => "__unnamed__".into(),
        b".." => "download".into(),
        name => OsString::from_vec(name.to_vec()),
    }
}

impl Fetcher<'_> {
    /// Fetches a file into a directory, where nothing of its name ([`HttpSource::file_name`]) may be yet. It is
    /// streamed; memory does not grow with it.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, stalls, sends something else than the checksum says, or the file
    /// cannot be written. Nothing is left behind then.
    pub fn fetch_http(
        &self,
        source: &HttpSource,
        directory: &Path,
        options: &HttpOptions,
    ) -> Result<FetchedFile, RemoteError> {
        let location = source.location();
        let response = self.runtime.block_on(self.get(source, options))?;
        let modified = modified(&response);
        let path = directory.join(&source.file_name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.at("create", &path)?;
        let received = self.receive(response, file, &location, &path, options.checksum.as_ref());
        let finished = received.and_then(|(file, size)| {
            file.set_times(FileTimes::new().set_accessed(modified).set_modified(modified))
                .at("set the times of", &path)?;
            Ok(FetchedFile { path: path.clone(), size })
        });
        if finished.is_err() {
            // The first error tells more than a second one could.
            let _ = std::fs::remove_file(&path);
        }
        finished
    }

    /// Asks for the file and follows redirects.
    async fn get(&self, source: &HttpSource, options: &HttpOptions) -> Result<Response, RemoteError> {
        let client = self.registry.web_client();
        let location = source.location();
        let problem = |problem: String| RemoteError::Answer { location: location.clone(), problem };
        let authorization = options.authorization.clone().or_else(|| user_information(&source.url));
        let mut url = without_user(&source.url);
        let origin = url.origin();
        for _ in 0..=REDIRECT_LIMIT {
            let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "gzip");
            let shown = authorization.as_ref().filter(|_| url.origin() == origin);
            if let Some(authorization) = shown {
                request = request.header(AUTHORIZATION, authorization.value());
            }
            let response = self.in_time(&location, request.send()).await?;
            match response.status() {
                status if status.is_success() => return Ok(response),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => url = next(&url, &response).map_err(&problem)?,
                status => {
                    let (status, with_credentials) = (status.as_u16(), shown.is_some());
                    return Err(RemoteError::Status { location, status, with_credentials });
                }
            }
        }
        Err(problem(format!("stopped after {REDIRECT_LIMIT} redirects")))
    }

    /// Writes the body to a file; returns it and its length.
    fn receive(
        &self,
        mut response: Response,
        file: File,
        location: &str,
        path: &Path,
        checksum: Option<&Checksum>,
    ) -> Result<(File, u64), RemoteError> {
        let encoding = response.headers().get(CONTENT_ENCODING);
        let zipped = encoding.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"));
        let mut body = Body::new(Sink::new(file, checksum), zipped);
        while let Some(piece) = self.runtime.block_on(self.in_time(location, response.chunk()))? {
            body.write_all(&piece).at("write", path)?;
        }
        let Sink { file, hasher, size } = body.finish().at("write", path)?;
        if let (Some(expected), Some(hasher)) = (checksum, hasher) {
            let actual = hasher.finish();
            if actual != *expected {
                let (location, expected) = (location.to_owned(), expected.clone());
                return Err(RemoteError::Checksum { location, expected, actual });
            }
        }
        Ok((file, size))
    }

    /// Waits for a step of an exchange, but not longer than the stall time.
    pub(crate) async fn in_time<T>(
        &self,
        location: &str,
        step: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> Result<T, RemoteError> {
        let stall = self.stall_timeout();
        match tokio::time::timeout(stall, step).await {
            Ok(done) => done.map_err(|error| RemoteError::of_exchange(location, error)),
            Err(_) => Err(RemoteError::Timeout { location: location.to_owned(), seconds: stall.as_secs() }),
        }
    }
}

/// When the server says that the file was changed; the start of 1970 if it does not say.
fn modified(response: &Response) -> SystemTime {
    let header = response.headers().get(LAST_MODIFIED).and_then(|value| value.to_str().ok());
    let seconds = header.and_then(http_date::parse).map_or(0, |date| date.as_second());
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Where a redirect leads.
pub(crate) fn next(url: &Url, response: &Response) -> Result<Url, String> {
    let header = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let header = header.ok_or("the server redirects to nowhere")?;
    let next = url.join(header).map_err(|error| format!("redirected to what is no address: {error}"))?;
    match next.scheme() {
        "http" | "https" => Ok(without_user(&next)),
        other => Err(format!("redirected to an address with the scheme {other}")),
    }
}

/// Who an address says that we are.
pub(crate) fn user_information(url: &Url) -> Option<Authorization> {
    let decoded = |text: &str| String::from_utf8_lossy(&percent_decoded(text)).into_owned();
    let (user, password) = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
    if user.is_empty() && password.is_empty() { None } else { Authorization::basic(&user, &password) }
}

/// The address without a user's name and password, which go into a header.
pub(crate) fn without_user(url: &Url) -> Url {
    let mut url = url.clone();
    // Fails for addresses without a host alone, which have no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_buildkit_names_them() {
        for (text, name) in [
            ("http://h/a/b.txt", "b.txt"),
            ("http://h/b.txt?c=/d#/e", "b.txt"),
            ("http://h/dir/", "dir"),
            ("http://h/dir//", "dir"),
            ("http://h/a%20b%2Fc", "c"),
            ("http://h/a%2F..%2Fb", "b"),
            ("http://h", "__unnamed__"),
            ("http://h/", "__unnamed__"),
            ("http://h?q=/x", "__unnamed__"),
            ("http://h/.", "__unnamed__"),
            ("http://h/..", "download"),
            ("http://h/x/../..", "download"),
            ("http://h/100%", "100%"),
        ] {
            assert_eq!(HttpSource::parse(text).unwrap().file_name(), name, "{text}");
        }
    }

    #[test]
    fn messages_hold_neither_users_nor_queries() {
        let source = HttpSource::parse("https://me:hunter2@h:8443/a?sig=hunter2#hunter2").unwrap();
        assert_eq!(source.location(), "https://h:8443/a");
        assert_eq!(format!("{source:?}"), "HttpSource(https://h:8443/a)");
        assert_eq!(source.host(), "h");
    }
}
