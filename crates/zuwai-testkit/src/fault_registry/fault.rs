//! What can be made to go wrong, with which requests, and how often.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::http::Head;

/// What a request is for (distribution spec, "Endpoints").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// `GET /v2/`.
    Ping,
    /// The token server's `/token`.
    Token,
    /// `HEAD /v2/NAME/manifests/REFERENCE`.
    ManifestHead,
    /// `GET /v2/NAME/manifests/REFERENCE`.
    ManifestGet,
    /// `PUT /v2/NAME/manifests/REFERENCE`.
    ManifestPut,
    /// `HEAD /v2/NAME/blobs/DIGEST`.
    BlobHead,
    /// `GET /v2/NAME/blobs/DIGEST`.
    BlobGet,
    /// `GET /v2/NAME/tags/list`.
    Tags,
    /// `POST /v2/NAME/blobs/uploads/`.
    UploadStart,
    /// The same with `?mount=`.
    Mount,
    /// `PATCH` of an upload.
    UploadPatch,
    /// `GET` of an upload.
    UploadStatus,
    /// `PUT` of an upload.
    UploadCommit,
    /// `DELETE` of an upload.
    UploadCancel,
    /// Reading a blob from the storage host that the registry redirects to.
    Storage,
}

impl Operation {
    /// What a request is for, if it is for anything.
    pub(super) fn of(head: &Head) -> Option<Self> {
        let method = head.method.as_str();
        let path = head.path();
        if path.starts_with("/storage/") {
            return Some(Self::Storage);
        }
        match path {
            "/v2/" | "/v2" => return Some(Self::Ping),
            "/token" => return Some(Self::Token),
            _ => {}
        }
        let (_, kind, last) = split(path)?;
        Some(match (method, kind, last) {
            ("HEAD", "manifests", _) => Self::ManifestHead,
            ("GET", "manifests", _) => Self::ManifestGet,
            ("PUT", "manifests", _) => Self::ManifestPut,
            ("HEAD", "blobs", _) => Self::BlobHead,
            ("GET", "blobs", _) => Self::BlobGet,
            ("GET", "tags", "list") => Self::Tags,
            ("POST", "uploads", "") if head.query_field("mount").is_some() => Self::Mount,
            ("POST", "uploads", "") => Self::UploadStart,
            ("PATCH", "uploads", _) => Self::UploadPatch,
            ("GET", "uploads", _) => Self::UploadStatus,
            ("PUT", "uploads", _) => Self::UploadCommit,
            ("DELETE", "uploads", _) => Self::UploadCancel,
            _ => return None,
        })
    }
}

/// `/v2/NAME/KIND/LAST`, where the kind is `manifests`, `blobs`, `uploads` or `tags`.
pub(super) fn split(path: &str) -> Option<(&str, &str, &str)> {
    let path = path.strip_prefix("/v2/")?;
    if let Some((name, last)) = path.split_once("/blobs/uploads/") {
        return Some((name, "uploads", last));
    }
    let (rest, last) = path.rsplit_once('/')?;
    let (name, kind) = rest.rsplit_once('/')?;
    matches!(kind, "manifests" | "blobs" | "tags").then_some((name, kind, last))
}

/// What a Retry-After header says (RFC 9110, 10.2.3).
#[derive(Clone, Copy, Debug)]
pub enum RetryAfter {
    /// So many seconds.
    Seconds(u64),
    /// Not before this time.
    Date(SystemTime),
}

/// How a connection ends, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// With a reset.
    Reset,
    /// As if all had been sent.
    Close,
    /// Not: nothing more comes.
    Stall,
}

/// What becomes of the answer to something that was done.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    /// The connection is reset.
    Reset,
    /// Another answer comes instead, with a code: a proxy's 504, or an upload that is said to be unknown.
    Status(u16, &'static str),
}

/// Where a redirect leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// Back to where it came from.
    Loop,
    /// To the blob on another host, with a signature in the address.
    Storage,
    /// The same, with a signature that is over.
    Expired,
}

/// How an upload's address is written, which is an absolute URL of the registry otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `/v2/…`.
    Path,
    /// `../uploads/…` or so, from where it was asked.
    Relative,
    /// `//host/v2/…`.
    WithoutScheme,
    /// On another host, which wants no credentials.
    Storage,
}

/// What goes wrong, with a request that shows a token if the registry wants one.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A refusal; nothing is done.
    Status(u16),
    /// A refusal with this status, code and message; nothing is done.
    Refusal(u16, &'static str, &'static str),
    /// As [`Fault::Status`], with a Retry-After.
    Later(u16, RetryAfter),
    /// 401 with a challenge; the token that was shown is worth nothing any more.
    Expired,
    /// The connection is reset when the request's head has come.
    Reset,
    /// The request is taken in and never answered.
    Silent,
    /// The connection is reset when `after` bytes of the request's body have come, of which the first `keep` are kept.
    CutRequest {
        /// Bytes that are received.
        after: u64,
        /// Bytes that are kept.
        keep: u64,
    },
    /// The answer's body ends after so many bytes.
    CutAnswer {
        /// Bytes that are sent.
        after: u64,
        /// What comes then.
        how: Cut,
    },
    /// One bit of the answer's byte at this position is not what it was.
    Corrupt {
        /// From the body's start.
        at: u64,
    },
    /// The answer's body comes byte by byte, with this pause between.
    Drip(Duration),
    /// What was asked is done, but its answer is lost.
    Lost(Loss),
    /// A mount is answered with 202 and a new upload, as by registries that cannot mount.
    NotMounted,
    /// 413 without reading the body for requests with more than so many bytes.
    BodyLimit(u64),
    /// A request with Range is answered with 200 and the whole.
    RangeIgnored,
    /// A request with Range is answered with 206 from so many bytes later, and says so.
    RangeShifted(u64),
    /// A redirect.
    Redirect(Redirect),
    /// The upload's address is written in this way.
    Location(Place),
    /// Docker-Content-Digest names something else.
    WrongDigest,
    /// The document is followed by so many spaces.
    Oversize(usize),
    /// Content-Length says so many bytes more than come; the connection is closed at the end.
    WrongLength(u64),
    /// There is no Content-Type.
    NoContentType,
}

impl Fault {
    /// Whether this can happen to a request.
    fn concerns(&self, head: &Head) -> bool {
        match self {
            Self::BodyLimit(limit) => head.length().is_none_or(|length| length > *limit),
            Self::RangeIgnored | Self::RangeShifted(_) => head.header("range").is_some(),
            _ => true,
        }
    }
}

/// A fault that was ordered. It happens once unless it is told otherwise.
#[derive(Clone, Debug)]
pub struct Rule {
    state: Arc<Mutex<RuleState>>,
}

#[derive(Debug)]
struct RuleState {
    operation: Operation,
    fault: Fault,
    /// What the request's target must contain.
    of: String,
    skip: u64,
    left: u64,
    happened: u64,
}

impl Rule {
    pub(super) fn new(operation: Operation, fault: Fault) -> Self {
        let state = RuleState { operation, fault, of: String::new(), skip: 0, left: 1, happened: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn change(self, change: impl FnOnce(&mut RuleState)) -> Self {
        change(&mut self.state.lock().unwrap());
        self
    }

    /// It happens to so many requests.
    pub fn times(self, times: u64) -> Self {
        self.change(|rule| rule.left = times)
    }

    /// It happens to every request.
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }

    /// So many requests are spared first.
    pub fn after(self, requests: u64) -> Self {
        self.change(|rule| rule.skip = requests)
    }

    /// Only requests whose path and query contain this text, such as a digest.
    pub fn of(self, text: &str) -> Self {
        self.change(|rule| text.clone_into(&mut rule.of))
    }

    /// How often it has happened.
    #[must_use]
    pub fn happened(&self) -> u64 {
        self.state.lock().unwrap().happened
    }

    /// The fault, if it is this request's turn.
    pub(super) fn strike(&self, operation: Operation, head: &Head) -> Option<Fault> {
        let mut rule = self.state.lock().unwrap();
        if rule.operation != operation || !head.target.contains(&rule.of) || !rule.fault.concerns(head) {
            return None;
        }
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.left = rule.left.checked_sub(1)?;
        rule.happened += 1;
        Some(rule.fault.clone())
    }
}
