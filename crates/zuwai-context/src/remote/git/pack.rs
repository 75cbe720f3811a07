//! A commit without its history, from a server into a repository on disk.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix_error::ErrorExt as _;
use gix_hash::{Kind, ObjectId};
use gix_pack::bundle::write::Options as PackOptions;
use gix_protocol::Handshake;
use gix_protocol::fetch::negotiate::{Action, Round, one_round};
use gix_protocol::fetch::{Arguments, Context, Negotiate, Options, Response, Shallow, Tags};
use gix_transport::Service;
use gix_utils::progress::Discard;

use crate::remote::error::{IoContext as _, RemoteError};
use crate::remote::git::connection::Wire;
use crate::remote::git::remote::GitRemote;

/// Largest object of a repository: each is held in memory as a whole once.
pub(super) const OBJECT_LIMIT: usize = 2 << 30;

/// How we name ourselves.
pub(super) fn agent() -> (&'static str, Option<String>) {
    ("agent", Some(concat!("git/zuwai-", env!("CARGO_PKG_VERSION")).to_owned()))
}

/// Begins a conversation.
pub(super) fn greet(wire: &mut Wire<'_>, remote: &GitRemote) -> Result<Handshake, RemoteError> {
    let nobody = |_| Err(gix_error::message("no credentials").raise());
    let greeted =
        gix_protocol::handshake(&mut wire.transport, Service::UploadPack, nobody, Vec::new(), &mut Discard);
    let handshake =
        greeted.map_err(|error| wire.error(remote, "it does not answer as a git server does", error))?;
    let format = handshake
        .capabilities
        .capability("object-format")
        .and_then(|format| format.value().map(ToOwned::to_owned));
    match format {
        Some(format) if format != "sha1" => {
            let problem = format!("it has objects of format {format}, only sha1 is supported");
            Err(RemoteError::Answer { location: remote.location(), problem })
        }
        _ => Ok(handshake),
    }
}

/// Fetches one object and what it needs, but no parents, into `objects/pack` of a repository.
pub(super) fn fetch(
    wire: &mut Wire<'_>,
    handshake: &mut Handshake,
    remote: &GitRemote,
    object: ObjectId,
    git_dir: &Path,
) -> Result<(), RemoteError> {
    let packs = git_dir.join("objects/pack");
    fs::create_dir_all(&packs).at("create", &packs)?;
    let never = AtomicBool::new(false);
    let keep = |pack: &mut dyn std::io::BufRead,
                progress: &mut dyn gix_utils::progress::DynNestedProgress,
                stop: &AtomicBool| {
        let none: Option<gix_odb::Handle> = None;
        let options = PackOptions { alloc_limit_bytes: Some(OBJECT_LIMIT), ..PackOptions::default() };
        let written = gix_pack::Bundle::write_to_directory(
            pack,
            Some(&packs),
            progress,
            stop,
            none,
            Kind::Sha1,
            options,
        )?;
        if let Some(keep) = written.keep_path {
            fs::remove_file(keep).map_err(gix_error::Error::from_error)?;
        }
        Ok(true)
    };
    let fetched = gix_protocol::fetch(
        &mut One(object),
        keep,
        Discard,
        &never,
        Context { handshake, transport: &mut wire.transport, user_agent: agent(), trace_packetlines: false },
        Options {
            shallow_file: git_dir.join("shallow"),
            shallow: &Shallow::DepthAtRemote(NonZeroU32::MIN),
            tags: Tags::None,
            reject_shallow_remote: false,
        },
    );
    match fetched {
        Ok(_) => Ok(()),
        Err(error) => Err(wire.error(remote, &format!("cannot fetch {object}"), error)),
    }
}

/// The shortest of negotiations: we have nothing, and want one object.
struct One(ObjectId);

impl Negotiate for One {
    fn mark_complete_and_common_ref(&mut self) -> gix_error::Result<Action> {
        Ok(Action::MustNegotiate { remote_ref_target_known: vec![false] })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _known: &[bool]) -> bool {
        arguments.want(self.0);
        true
    }

    fn one_round(
        &mut self,
        _state: &mut one_round::State,
        _arguments: &mut Arguments,
        _previous: Option<&Response>,
    ) -> gix_error::Result<(Round, bool)> {
        let round = Round {
            haves_sent: 0,
            in_vain: 0,
            haves_to_send: 0,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}
