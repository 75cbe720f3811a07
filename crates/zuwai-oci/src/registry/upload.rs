//! One blob on its way into a repository (distribution spec, "Pushing blobs").
//!
//! A blob goes with PATCH requests, whole or in pieces, and a PUT that ends the upload, as docker and kaniko send it: not
//! every registry takes content with the PUT, and what a broken connection has carried may be kept. After a failure the
//! registry is asked how far it came (GET at the upload's address) and the rest is sent; an upload that the registry has
//! forgotten is begun anew. The answer to the PUT is what is lost most often, after the work was done: the blob is looked
//! for before that counts as a failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use url::Url;
use zuwai_layer::Digest;

use crate::descriptor::Descriptor;
use crate::error::{OciError, Request};
use crate::reference::Reference;
use crate::registry::answer::Wanted;
use crate::registry::blob_source::BlobSource;
use crate::registry::body::Body;
use crate::registry::retry::Attempts;
use crate::registry::transport::{Call, Target, location};
use crate::registry::{Direction, Registry};

/// What proxies commonly take: tried from the largest to the smallest once one has refused a body as too large. Cloudflare
/// takes 100 MB, nginx 1 MiB if it is not told otherwise; Amazon ECR takes no piece below 5 MiB but the last.
const PIECE_SIZES: [u64; 6] = [90 << 20, 45 << 20, 20 << 20, 10 << 20, 5 << 20, 1_000_000];
/// Bytes after which a connection that broke is taken to have worked. Less may not have left this machine.
const MUCH: u64 = 8 << 20;
/// How often an upload is begun anew after a refusal that speaks of its content or state.
const RESTARTS: u32 = 2;

/// A blob being uploaded.
pub(super) struct Upload<'a> {
    registry: &'a Registry,
    reference: &'a Reference,
    blob: &'a Descriptor,
    source: BlobSource<'a>,
    request: &'a Request,
    /// Bytes of the last piece that were taken to be sent.
    moved: Arc<AtomicU64>,
}

/// An upload that the registry has begun.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Where to send.
    address: Url,
    /// How much the registry has.
    offset: u64,
    /// The smallest piece that it takes, but for the last (`OCI-Chunk-Min-Length`).
    least: u64,
}

impl<'a> Upload<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        reference: &'a Reference,
        blob: &'a Descriptor,
        source: BlobSource<'a>,
        request: &'a Request,
    ) -> Self {
        Self { registry, reference, blob, source, request, moved: Arc::default() }
    }

    /// Sends the blob, in a session that was begun already if there is one.
    pub(super) async fn send(&self, begun: Option<Session>) -> Result<(), OciError> {
        let mut attempts = Attempts::new(self.registry.options().retry, Direction::Push);
        let mut piece = self.registry.options().chunk_size;
        let mut session = begun;
        let (mut furthest, mut restarts) = (0, 0);
        loop {
            let error = match self.carry_on(&mut session, piece).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let offset = session.as_ref().map_or(0, |session| session.offset);
            if let Some(smaller) = self.smaller_piece(&error, piece) {
                tracing::debug!("{error}: going on in pieces of {smaller} bytes");
                piece = Some(smaller);
                continue;
            }
            // All was sent: the registry may have the blob although we were not told so.
            let registry = self.registry;
            if offset == self.blob.size
                && registry.has_blob(self.reference, self.blob, self.request).await.unwrap_or(false)
            {
                tracing::debug!("blob {} is there after all: {error}", self.blob.digest);
                return Ok(());
            }
            if is_about_the_upload(&error) && restarts < RESTARTS {
                tracing::debug!("{error}: beginning anew");
                restarts += 1;
                session = None;
                continue;
            }
            if offset > furthest {
                furthest = offset;
                attempts.got_on();
            } else if self.moved.load(Ordering::Relaxed) >= MUCH {
                attempts.carried();
            }
            attempts.again(error).await?;
            session = match session {
                Some(session) => self.ask_for_offset(&session).await,
                None => None,
            };
        }
    }

    /// Sends what is missing, and ends the upload. The session says how far it came.
    async fn carry_on(&self, session: &mut Option<Session>, piece: Option<u64>) -> Result<(), OciError> {
        let session = match session {
            Some(session) => session,
            None => match self.registry.start_upload(self.reference, None, self.request).await? {
                Some(begun) => session.insert(begun),
                None => return Ok(()),
            },
        };
        while session.offset < self.blob.size {
            self.send_piece(session, piece).await?;
        }
        self.commit(session).await
    }

    /// Sends a piece, or all that is left.
    async fn send_piece(&self, session: &mut Session, piece: Option<u64>) -> Result<(), OciError> {
        let left = self.blob.size - session.offset;
        let length = piece.map_or(left, |piece| piece.max(session.least).min(left)).max(1);
        let mut headers = HeaderMap::new();
        // Like docker, nothing is said of the range where all of it comes at once: not everybody reads it.
        if length < self.blob.size {
            headers.insert(CONTENT_RANGE, range(session.offset, length));
        }
        self.moved.store(0, Ordering::Relaxed);
        let body = self.source.body(session.offset, length, self.moved.clone()).await?;
        let response = self.call(session, Method::PATCH, headers, body).await?;
        let sent = session.offset + length;
        session.address = self.address(&response, &session.address)?;
        session.offset = match received(&response) {
            // It may have taken less than it was sent, never more.
            Some(received) if received > session.offset && received < sent => received,
            _ => sent,
        };
        Ok(())
    }

    async fn commit(&self, session: &mut Session) -> Result<(), OciError> {
        let mut last = session.clone();
        // The registry's own parameters stay as they are: some are signed.
        last.address.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        session.offset = self.blob.size;
        let response = self.call(&last, Method::PUT, HeaderMap::new(), Body::End(self.blob.size)).await?;
        check_stored_digest(&response, self.blob.digest, self.request)
    }

    /// How far an upload came; nothing if that cannot be known, and a new one has to be begun.
    async fn ask_for_offset(&self, session: &Session) -> Option<Session> {
        let response = match self.call(session, Method::GET, HeaderMap::new(), Body::Empty).await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!("beginning anew: {error}");
                return None;
            }
        };
        // Without a Range there is nothing yet; registries that cannot say so are told by their status.
        let known = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::ACCEPTED);
        let offset = received(&response).unwrap_or(0);
        if !known || offset > self.blob.size {
            return None;
        }
        let address = self.address(&response, &session.address).unwrap_or_else(|_| session.address.clone());
        Some(Session { address, offset, least: session.least })
    }

    /// The piece size to go on with after a body was refused as too large.
    fn smaller_piece(&self, error: &OciError, piece: Option<u64>) -> Option<u64> {
        let OciError::Refused { answer, .. } = error.root() else { return None };
        let refused = piece.unwrap_or(self.blob.size).min(self.blob.size);
        let smaller = PIECE_SIZES.into_iter().find(|size| *size < refused);
        smaller.filter(|_| answer.status == StatusCode::PAYLOAD_TOO_LARGE.as_u16())
    }

    async fn call(
        &self,
        session: &Session,
        method: Method,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response, OciError> {
        let call = Call {
            reference: self.reference,
            mount_from: None,
            direction: Direction::Push,
            method,
            target: Target::Address(session.address.clone()),
            wanted: Wanted::UploadSession,
            headers,
            body,
            request: self.request.clone(),
        };
        self.registry.transport().send(&call).await
    }

    fn address(&self, response: &Response, before: &Url) -> Result<Url, OciError> {
        location(response, before, self.request)
    }
}

impl Registry {
    /// Begins an upload, or mounts the blob of another repository: the session, or nothing if the registry says that it is
    /// done.
    pub(super) async fn start_upload(
        &self,
        reference: &Reference,
        mount: Option<(&Reference, Digest)>,
        request: &Request,
    ) -> Result<Option<Session>, OciError> {
        let mut path = "blobs/uploads/".to_owned();
        if let Some((from, digest)) = mount {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("mount", &digest.to_string())
                .append_pair("from", from.repository())
                .finish();
            path = format!("{path}?{query}");
        }
        let call = Call {
            reference,
            mount_from: mount.map(|(from, _)| from),
            direction: Direction::Push,
            method: Method::POST,
            target: Target::Path(path),
            wanted: Wanted::Upload,
            headers: HeaderMap::new(),
            body: Body::Empty,
            request: request.clone(),
        };
        let response = self.transport().send(&call).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(None);
        }
        let least = response.headers().get("oci-chunk-min-length");
        let least = least.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let address = location(&response, response.url(), request)?;
        Ok(Some(Session { address, offset: 0, least: least.unwrap_or(0) }))
    }

    /// Gives up an upload. Registries forget uploads by themselves, and some do not know how to cancel one.
    pub(super) async fn cancel_upload(&self, reference: &Reference, session: Session, request: &Request) {
        let call = Call {
            reference,
            mount_from: None,
            direction: Direction::Push,
            method: Method::DELETE,
            target: Target::Address(session.address),
            wanted: Wanted::UploadSession,
            headers: HeaderMap::new(),
            body: Body::Empty,
            request: request.clone(),
        };
        if let Err(error) = self.transport().send(&call).await {
            tracing::debug!("upload not cancelled: {error}");
        }
    }
}

/// Whether a registry stored what was sent, as far as it says.
pub(super) fn check_stored_digest(
    response: &Response,
    expected: Digest,
    request: &Request,
) -> Result<(), OciError> {
    let stored = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
    match stored.and_then(|text| text.parse::<Digest>().ok()) {
        Some(actual) if actual != expected => {
            Err(OciError::DigestMismatch { request: request.clone(), expected, actual })
        }
        _ => Ok(()),
    }
}

/// Whether a refusal speaks of the upload and not of who asks or where: a new upload may go well.
fn is_about_the_upload(error: &OciError) -> bool {
    match error.root() {
        OciError::Refused { answer, .. } => matches!(answer.status, 400 | 404 | 409 | 410 | 416),
        OciError::DigestMismatch { .. } => true,
        _ => false,
    }
}

/// The Content-Range of a piece. Its form is the distribution spec's, without unit and total.
fn range(offset: u64, length: u64) -> HeaderValue {
    let text = format!("{offset}-{}", offset + length - 1);
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("0-0"))
}

/// How many bytes a registry says it has: `Range: 0-99` or `bytes=0-99` means 100. Nothing and a single byte look the same;
/// taken as nothing, which is the safe way.
fn received(response: &Response) -> Option<u64> {
    parse_received(response.headers().get(RANGE)?.to_str().ok()?)
}

fn parse_received(text: &str) -> Option<u64> {
    let text = text.trim();
    let last: u64 = text.strip_prefix("bytes=").unwrap_or(text).strip_prefix("0-")?.parse().ok()?;
    if last == 0 { Some(0) } else { last.checked_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_is_read_from_the_range() {
        for (text, expected) in [
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("0-0", Some(0)),
            (" 0-1 ", Some(2)),
            ("5-9", None),
            ("0--1", None),
            ("", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(parse_received(text), expected, "{text}");
        }
        assert_eq!(range(0, 5), "0-4");
        assert_eq!(range(5, 1), "5-5");
    }
}
