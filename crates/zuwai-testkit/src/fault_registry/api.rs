//! The registry's interface (distribution spec, "Endpoints"), without what goes wrong on the way to and from it.

use std::io::{self, Read};
use std::path::Path;

use super::State;
use super::answer::{Answer, Content};
use super::blobs::append;
use super::fault::{Fault, Operation, Place, Redirect, split};
use crate::http::Head;

/// Largest manifest that is taken.
const MANIFEST_LIMIT: u64 = 4 << 20;

/// A request on its way through the registry.
pub(super) struct Asked<'a> {
    pub(super) state: &'a State,
    pub(super) head: &'a Head,
    pub(super) operation: Operation,
    pub(super) fault: Option<&'a Fault>,
}

impl Asked<'_> {
    /// Does what is asked.
    pub(super) fn carry_out(&self, body: &mut dyn Read) -> io::Result<Answer> {
        let path = self.head.path();
        let (name, _, last) = split(path).unwrap_or_default();
        let blobs = &self.state.blobs;
        Ok(match self.operation {
            Operation::Ping => Answer::json(200, &serde_json::json!({}))
                .header("Docker-Distribution-Api-Version", "registry/2.0"),
            Operation::Token => self.state.tokens.as_ref().map_or_else(nothing, |own| own.give(self.head)),
            Operation::Tags => {
                Answer::json(200, &serde_json::json!({"name": name, "tags": blobs.tags(name)}))
            }
            Operation::ManifestHead | Operation::ManifestGet => self.manifest(name, last),
            Operation::ManifestPut => self.put_manifest(name, last, body)?,
            Operation::BlobHead | Operation::BlobGet => match (blobs.find(name, last), self.fault) {
                (None, _) => Answer::refusal(404, "BLOB_UNKNOWN", "blob unknown to registry"),
                (Some(_), Some(Fault::Redirect(to))) => self.redirect(*to, last),
                (Some(file), _) => self.blob(&file, last)?,
            },
            Operation::Storage => self.stored(path)?,
            Operation::Mount => self.mount(name)?,
            Operation::UploadStart => self.start(name, body)?,
            Operation::UploadStatus
            | Operation::UploadPatch
            | Operation::UploadCommit
            | Operation::UploadCancel => match blobs.upload(last) {
                None => Answer::refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
                Some(file) => self.upload(name, last, &file, body)?,
            },
        })
    }

    fn manifest(&self, name: &str, reference: &str) -> Answer {
        if let Some(Fault::Redirect(_)) = self.fault {
            return Answer::status(307).header("Location", &self.head.target);
        }
        match self.state.blobs.manifest(name, reference) {
            None => Answer::refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            Some((digest, (media_type, bytes))) => {
                Answer { content: Content::Bytes(bytes), ..Answer::status(200) }
                    .header("Content-Type", &media_type)
                    .header("Docker-Content-Digest", &digest)
            }
        }
    }

    fn put_manifest(&self, name: &str, reference: &str, body: &mut dyn Read) -> io::Result<Answer> {
        let mut bytes = Vec::new();
        body.take(MANIFEST_LIMIT).read_to_end(&mut bytes)?;
        let missing = self.state.blobs.missing(name, &bytes);
        if !missing.is_empty() {
            let message = format!("blob unknown to registry: {}", missing.join(", "));
            return Ok(Answer::refusal(400, "MANIFEST_BLOB_UNKNOWN", &message));
        }
        if reference.contains(':') && reference != super::blobs::sha256(&bytes) {
            return Ok(Answer::refusal(400, "DIGEST_INVALID", "provided digest did not match content"));
        }
        let tag = (!reference.contains(':')).then_some(reference);
        let media_type = self.head.header("content-type").unwrap_or_default().to_owned();
        let digest = self.state.blobs.put_manifest(name, tag, (media_type, bytes));
        let location = format!("/v2/{name}/manifests/{digest}");
        Ok(Answer::status(201).header("Location", &location).header("Docker-Content-Digest", &digest))
    }

    /// A blob or a part of it.
    fn blob(&self, file: &Path, digest: &str) -> io::Result<Answer> {
        let size = file.metadata()?.len();
        let range = self.head.header("range").filter(|_| !matches!(self.fault, Some(Fault::RangeIgnored)));
        let mut part = (0, size);
        let mut answer = Answer::status(200);
        if let Some(range) = range.and_then(|text| text.strip_prefix("bytes=")) {
            let (first, last) = range.split_once('-').unwrap_or((range, ""));
            let mut first: u64 = first.parse().unwrap_or(u64::MAX);
            let last = last.parse().unwrap_or(u64::MAX).min(size.saturating_sub(1));
            if let Some(Fault::RangeShifted(by)) = self.fault {
                first += by;
            }
            if first >= size || last < first {
                return Ok(Answer::status(416).header("Content-Range", &format!("bytes */{size}")));
            }
            part = (first, last + 1 - first);
            answer = Answer::status(206).header("Content-Range", &format!("bytes {first}-{last}/{size}"));
        }
        let content = Content::File { path: file.to_owned(), start: part.0, length: part.1 };
        Ok(Answer { content, ..answer }
            .header("Content-Type", "application/octet-stream")
            .header("Accept-Ranges", "bytes")
            .header("Docker-Content-Digest", digest))
    }

    fn redirect(&self, to: Redirect, digest: &str) -> Answer {
        let signature = match to {
            Redirect::Loop => return Answer::status(307).header("Location", &self.head.target),
            Redirect::Storage => "good",
            Redirect::Expired => "expired",
        };
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        let address = self.state.storage;
        let location = format!("http://{address}/storage/{hex}?X-Amz-Signature={signature}");
        Answer::status(307).header("Location", &location)
    }

    /// What a storage service has behind an address that the registry signed.
    fn stored(&self, path: &str) -> io::Result<Answer> {
        if self.head.query_field("X-Amz-Signature").as_deref() != Some("good") {
            let text = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
            let content = Content::Bytes(text.as_bytes().to_vec());
            return Ok(Answer { content, ..Answer::status(403) }.header("Content-Type", "application/xml"));
        }
        let digest = format!("sha256:{}", path.rsplit('/').next().unwrap_or_default());
        match self.state.blobs.file(&digest).filter(|file| file.is_file()) {
            Some(file) => self.blob(&file, &digest),
            None => Ok(nothing()),
        }
    }

    fn mount(&self, name: &str) -> io::Result<Answer> {
        let field = |field: &str| self.head.query_field(field).unwrap_or_default();
        let (digest, from) = (field("mount"), field("from"));
        let allowed = self.state.tokens.as_ref().is_none_or(|own| own.may_read(self.head, &from));
        let refused = matches!(self.fault, Some(Fault::NotMounted));
        if refused || !allowed || !self.state.blobs.mount(&from, name, &digest) {
            return self.start(name, &mut io::empty());
        }
        Ok(created(name, &digest))
    }

    fn start(&self, name: &str, body: &mut dyn Read) -> io::Result<Answer> {
        let id = self.state.blobs.begin();
        let file = self.state.blobs.upload(&id).ok_or(io::ErrorKind::NotFound)?;
        if self.head.query_field("digest").is_some() {
            append(&file, body, u64::MAX)?;
            return self.commit(name, &file);
        }
        Ok(self.progress(202, name, &id, 0))
    }

    fn upload(&self, name: &str, id: &str, file: &Path, body: &mut dyn Read) -> io::Result<Answer> {
        let size = file.metadata()?.len();
        let offset = self.head.header("content-range").and_then(|range| range.split('-').next());
        if offset.is_some_and(|offset| offset.parse() != Ok(size)) {
            return Ok(self.progress(416, name, id, size));
        }
        match self.operation {
            Operation::UploadStatus => Ok(self.progress(204, name, id, size)),
            Operation::UploadCancel => {
                std::fs::remove_file(file)?;
                Ok(Answer::status(204))
            }
            Operation::UploadPatch => {
                let size = size + self.append(file, body)?;
                Ok(self.progress(202, name, id, size))
            }
            _ => {
                self.append(file, body)?;
                self.commit(name, file)
            }
        }
    }

    fn append(&self, file: &Path, body: &mut dyn Read) -> io::Result<u64> {
        let Some(Fault::CutRequest { after, keep }) = self.fault else {
            return append(file, body, u64::MAX);
        };
        append(file, &mut body.take(*after), *keep)?;
        Err(io::ErrorKind::ConnectionReset.into())
    }

    fn commit(&self, name: &str, file: &Path) -> io::Result<Answer> {
        let digest = self.head.query_field("digest").unwrap_or_default();
        Ok(match self.state.blobs.commit(name, file, &digest)? {
            true => created(name, &digest),
            false => Answer::refusal(400, "DIGEST_INVALID", "provided digest did not match uploaded content"),
        })
    }

    /// Where an upload is and how much of it came. Its address changes with its length, as distribution's does.
    fn progress(&self, status: u16, name: &str, id: &str, size: u64) -> Answer {
        let path = format!("/v2/{name}/blobs/uploads/{id}?_state={size}");
        let location = match self.fault {
            Some(Fault::Location(Place::Path)) => path,
            Some(Fault::Location(Place::Relative)) => format!("../uploads/{id}?_state={size}"),
            Some(Fault::Location(Place::WithoutScheme)) => format!("//{}{path}", self.state.address),
            Some(Fault::Location(Place::Storage)) => format!("http://{}{path}", self.state.storage),
            _ => format!("http://{}{path}", self.head.header("host").unwrap_or_default()),
        };
        let answer = Answer::status(status).header("Location", &location).header("Docker-Upload-UUID", id);
        // "Range: 0-0" of an empty upload is what distribution says.
        answer.header("Range", &format!("0-{}", size.saturating_sub(1)))
    }
}

fn created(name: &str, digest: &str) -> Answer {
    let location = format!("/v2/{name}/blobs/{digest}");
    Answer::status(201).header("Location", &location).header("Docker-Content-Digest", digest)
}

fn nothing() -> Answer {
    Answer::refusal(404, "UNSUPPORTED", "there is nothing here")
}
