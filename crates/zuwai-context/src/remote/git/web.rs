//! git's smart HTTP protocol over the client that everything else uses: the same certificate authorities, proxies and
//! name servers.

use std::any::Any;
use std::cell::RefCell;
use std::io::{self, BufRead, Cursor, Read, Write};
use std::rc::Rc;

use bytes::Bytes;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use url::{Origin, Url};

use crate::remote::error::RemoteError;
use crate::remote::fetcher::{Authorization, Fetcher};
use crate::remote::http::{next, without_user};
use crate::remote::location::location;

/// Most redirects that are followed.
const REDIRECT_LIMIT: usize = 10;

/// What went wrong below git's protocol, kept aside because that knows nothing of our errors.
pub(super) type Failure = Rc<RefCell<Option<RemoteError>>>;

/// A connection to a git server. Redirects are followed when it is asked for its references, and to where they led all
/// else is sent, as git does.
pub(super) struct Web<'a> {
    fetcher: Fetcher<'a>,
    authorization: Option<Authorization>,
    origin: Origin,
    /// The repository, for messages.
    location: String,
    redirected: Option<String>,
    failure: Failure,
}

impl<'a> Web<'a> {
    /// A connection to the server of a repository, which alone is shown `authorization`.
    pub(super) fn new(
        fetcher: Fetcher<'a>,
        url: &Url,
        authorization: Option<Authorization>,
        failure: Failure,
    ) -> Self {
        let (origin, location) = (url.origin(), location(url));
        Self { fetcher, authorization, origin, location, redirected: None, failure }
    }

    fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> io::Result<Exchange<'a>> {
        let url = Url::parse(url).map_err(io::Error::other)?;
        let mut header_map = HeaderMap::new();
        for header in headers {
            let (name, value) = header.as_ref().split_once(':').unwrap_or((header.as_ref(), ""));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
            header_map.insert(name, HeaderValue::from_str(value.trim()).map_err(io::Error::other)?);
        }
        Ok(Exchange {
            fetcher: self.fetcher,
            method,
            url,
            headers: header_map,
            authorization: self.authorization.clone(),
            origin: self.origin.clone(),
            location: self.location.clone(),
            body: Vec::new(),
            response: None,
            failure: self.failure.clone(),
        })
    }
}

impl<'a> Http for Web<'a> {
    type Headers = Headers<'a>;
    type ResponseBody = Body<'a>;
    type PostBody = Question<'a>;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix_error::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let mut exchange = self.exchange(Method::GET, url, headers).map_err(gix_error::Error::from_error)?;
        exchange.send().map_err(gix_error::Error::from_error)?;
        if exchange.url.as_str() != url {
            let tail = url.strip_prefix(base_url).unwrap_or_default();
            self.redirected = exchange.url.as_str().strip_suffix(tail).map(str::to_owned);
        }
        let exchange = Rc::new(RefCell::new(exchange));
        Ok(GetResponse { headers: Headers::of(exchange.clone()), body: Body::of(exchange) })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix_error::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let exchange = self.exchange(Method::POST, url, headers).map_err(gix_error::Error::from_error)?;
        let exchange = Rc::new(RefCell::new(exchange));
        Ok(PostResponse {
            post_body: Question(exchange.clone()),
            headers: Headers::of(exchange.clone()),
            body: Body::of(exchange),
        })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix_error::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected.clone()
    }
}

/// One request and its answer. A question is collected until somebody wants the answer.
pub(super) struct Exchange<'a> {
    fetcher: Fetcher<'a>,
    method: Method,
    url: Url,
    headers: HeaderMap,
    authorization: Option<Authorization>,
    origin: Origin,
    location: String,
    body: Vec<u8>,
    response: Option<Response>,
    failure: Failure,
}

impl Exchange<'_> {
    /// Notes what went wrong and gives git's protocol something to stop at.
    fn failed(&self, error: RemoteError) -> io::Error {
        let told = io::Error::other(error.to_string());
        self.failure.borrow_mut().get_or_insert(error);
        told
    }

    fn send(&mut self) -> io::Result<()> {
        match self.fetcher.runtime.block_on(self.answer()) {
            Ok((url, response)) => {
                self.url = url;
                self.response = Some(response);
                Ok(())
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn answer(&self) -> Result<(Url, Response), RemoteError> {
        let client = self.fetcher.registry.web_client();
        let mut url = self.url.clone();
        let place = &self.location;
        for _ in 0..=REDIRECT_LIMIT {
            tracing::debug!("{} {}", self.method, location(&url));
            let mut request =
                client.request(self.method.clone(), without_user(&url)).headers(self.headers.clone());
            let shown = self.authorization.as_ref().filter(|_| url.origin() == self.origin);
            if let Some(authorization) = shown {
                request = request.header(AUTHORIZATION, authorization.value());
            }
            if self.method == Method::POST {
                request = request.body(self.body.clone());
            }
            let response = self.fetcher.in_time(place, request.send()).await?;
            let status = response.status();
            if status.is_redirection() && self.method == Method::GET {
                let problem = |problem| RemoteError::Answer { location: place.clone(), problem };
                url = next(&url, &response).map_err(problem)?;
            } else if status.is_success() {
                return Ok((url, response));
            } else {
                return Err(RemoteError::GitStatus {
                    location: place.clone(),
                    status: status.as_u16(),
                    with_credentials: shown.is_some(),
                });
            }
        }
        let problem = format!("stopped after {REDIRECT_LIMIT} redirects");
        Err(RemoteError::Answer { location: place.clone(), problem })
    }

    fn response(&mut self) -> io::Result<&mut Response> {
        if self.response.is_none() {
            self.send()?;
        }
        self.response.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The next piece of the answer; empty at its end.
    fn piece(&mut self) -> io::Result<Bytes> {
        self.response()?;
        let Some(response) = self.response.as_mut() else { return Ok(Bytes::new()) };
        let next = self.fetcher.in_time(&self.location, response.chunk());
        let piece = self.fetcher.runtime.block_on(next);
        piece.map(Option::unwrap_or_default).map_err(|error| self.failed(error))
    }
}

/// Where the question is written.
pub(super) struct Question<'a>(Rc<RefCell<Exchange<'a>>>);

impl Write for Question<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().body.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The answer's headers, one a line.
pub(super) struct Headers<'a> {
    exchange: Rc<RefCell<Exchange<'a>>>,
    text: Option<Cursor<Vec<u8>>>,
}

impl<'a> Headers<'a> {
    fn of(exchange: Rc<RefCell<Exchange<'a>>>) -> Self {
        Self { exchange, text: None }
    }

    fn text(&mut self) -> io::Result<&mut Cursor<Vec<u8>>> {
        if self.text.is_none() {
            let mut text = Vec::new();
            for (name, value) in self.exchange.borrow_mut().response()?.headers() {
                text.extend_from_slice(name.as_str().as_bytes());
                text.extend_from_slice(b": ");
                text.extend_from_slice(value.as_bytes());
                text.push(b'\n');
            }
            self.text = Some(Cursor::new(text));
        }
        self.text.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Read for Headers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text()?.read(buffer)
    }
}

impl BufRead for Headers<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.text()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(text) = &mut self.text {
            text.consume(amount);
        }
    }
}

/// The answer's body.
pub(super) struct Body<'a> {
    exchange: Rc<RefCell<Exchange<'a>>>,
    piece: Bytes,
}

impl<'a> Body<'a> {
    fn of(exchange: Rc<RefCell<Exchange<'a>>>) -> Self {
        Self { exchange, piece: Bytes::new() }
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Body<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.is_empty() {
            self.piece = self.exchange.borrow_mut().piece()?;
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.piece.split_to(amount.min(self.piece.len()));
    }
}
