//! A blob's bytes from any offset on, as a registry sends them (RFC 9110 section 14).

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

use crate::descriptor::Descriptor;
use crate::error::{OciError, Request};
use crate::reference::Reference;
use crate::registry::answer::{Wanted, next_chunk};
use crate::registry::body::Body;
use crate::registry::transport::{Call, Target};
use crate::registry::{Direction, Registry};

/// A part of a blob on its way here.
pub(crate) struct BlobPart {
    response: Response,
    /// Bytes before the part that come all the same: the registry knows no ranges.
    skip: u64,
    left: u64,
    /// Where the part ends in the blob, and how long that is.
    end: u64,
    size: u64,
    request: Request,
    stall: std::time::Duration,
}

impl Registry {
    /// Asks for `length` bytes of a blob from `offset` on.
    pub(crate) async fn open_blob_part(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        offset: u64,
        length: u64,
        request: &Request,
    ) -> Result<BlobPart, OciError> {
        let whole = offset == 0 && length == blob.size;
        let range = (!whole).then(|| format!("bytes={offset}-{}", offset + length.max(1) - 1));
        let mut came = self.get_blob(reference, blob, range.as_deref(), request).await;
        let unusable = match &came {
            Ok(response) => begin(response).is_none_or(|begins| begins > offset),
            Err(error) => is_about_the_range(error),
        };
        if range.is_some() && unusable {
            tracing::debug!("{request}: bytes from {offset} on do not come; asking for all");
            came = self.get_blob(reference, blob, None, request).await;
        }
        let response = came?;
        let skip = match begin(&response) {
            Some(begins) if begins <= offset => offset - begins,
            _ => {
                let problem = "a part came that was not asked for".to_owned();
                return Err(OciError::Answered { request: request.clone(), problem });
            }
        };
        // What a registry says to be longer than it should be is not begun with.
        match response.content_length() {
            Some(announced) if announced > blob.size - (offset - skip) => {
                Err(OciError::TooLong { request: request.clone(), expected: blob.size })
            }
            _ => {
                let stall = self.options().stall_timeout;
                let (end, size) = (offset + length, blob.size);
                Ok(BlobPart { response, skip, left: length, end, size, request: request.clone(), stall })
            }
        }
    }

    async fn get_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        range: Option<&str>,
        request: &Request,
    ) -> Result<Response, OciError> {
        let mut headers = HeaderMap::new();
        if let Some(value) = range.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(RANGE, value);
        }
        let call = Call {
            reference,
            mount_from: None,
            direction: Direction::Pull,
            method: Method::GET,
            target: Target::Path(format!("blobs/{}", blob.digest)),
            wanted: Wanted::Blob,
            headers,
            body: Body::Empty,
            request: request.clone(),
        };
        self.transport().send(&call).await
    }
}

impl BlobPart {
    /// The next bytes; none at the end. An end before the part is whole is an error, and so is one byte more.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, OciError> {
        loop {
            let Some(mut piece) = self.receive().await? else {
                return match self.left {
                    0 => Ok(None),
                    left => Err(OciError::Truncated {
                        request: self.request.clone(),
                        expected: self.size,
                        received: self.end - left,
                    }),
                };
            };
            let skipped = self.skip.min(piece.len() as u64);
            self.skip -= skipped;
            // Not more than the piece holds.
            drop(piece.split_to(skipped as usize));
            if piece.is_empty() {
                continue;
            }
            let length = piece.len() as u64;
            if length > self.left {
                return Err(OciError::TooLong { request: self.request.clone(), expected: self.end });
            }
            self.left -= length;
            return Ok(Some(piece));
        }
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, OciError> {
        match next_chunk(&mut self.response, &self.request, self.stall).await {
            // A connection that closes early is a truncated blob, whatever the HTTP library calls it.
            Err(OciError::Transport { source, .. }) if source.is_body() || source.is_decode() => {
                tracing::debug!("{}: {source}", self.request);
                Ok(None)
            }
            other => other,
        }
    }

    /// The bytes as a stream, for the body of another request.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes, OciError>> + Send {
        stream::unfold(Some(self), |part| async move {
            let mut part = part?;
            match part.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(part))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

/// Whether a registry refuses to send a part.
fn is_about_the_range(error: &OciError) -> bool {
    let range_not_satisfiable = StatusCode::RANGE_NOT_SATISFIABLE.as_u16();
    matches!(error, OciError::Refused { answer, .. } if answer.status == range_not_satisfiable)
}

/// Where the bytes of an answer begin in the blob; nothing if it does not say so though it should.
fn begin(response: &Response) -> Option<u64> {
    match response.status() {
        StatusCode::PARTIAL_CONTENT => parse_begin(response.headers().get(CONTENT_RANGE)?.to_str().ok()?),
        _ => Some(0),
    }
}

fn parse_begin(text: &str) -> Option<u64> {
    text.trim().strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_says_where_it_begins() {
        for (text, expected) in [
            ("bytes 5-9/10", Some(5)),
            ("bytes 0-0/*", Some(0)),
            ("bytes */10", None),
            ("5-9", None),
            ("", None),
        ] {
            assert_eq!(parse_begin(text), expected, "{text}");
        }
    }
}
