//! COPY and ADD: which files go where.

use zuwai_context::Patterns;
use zuwai_context::remote::checksum::ChecksumError;
use zuwai_context::remote::{Checksum, RemoteSource};
use zuwai_dockerfile::ast::{AddInstruction, CopyInstruction, Transfer, TransferSource};
use zuwai_dockerfile::{Diagnostic, Span, Word};

use zuwai_rootfs::copy::ModeChange;

use super::stage::StageBuilder;
use super::{Action, CopyAction, CopySource, RemoteCopy, Tree};

impl StageBuilder {
    /// COPY: its history row and what it does.
    ///
    /// # Errors
    /// When a path is none.
    pub(super) fn copy(
        &mut self,
        copy: &CopyInstruction,
        tree: Tree,
        span: Span,
    ) -> Result<(Option<String>, Action), Diagnostic> {
        let keyword = if copy.parents { "COPY --parents" } else { "COPY" };
        let (row, mut action) = self.transfer(keyword, &copy.transfer, tree, span)?;
        action.parents = copy.parents;
        Ok((Some(row), Action::Copy(action)))
    }

    /// ADD: its history row and what it does.
    ///
    /// # Errors
    /// When a remote source or its checksum is none.
    pub(super) fn add(
        &mut self,
        add: &AddInstruction,
        span: Span,
    ) -> Result<(Option<String>, Action), Diagnostic> {
        let (row, mut action) = self.transfer("ADD", &add.transfer, Tree::Context, span)?;
        action.unpack_archives = add.unpack != Some(false);
        check_checksum(add)?;
        for (source, written) in action.sources.iter_mut().zip(in_order(&add.transfer)) {
            if let TransferSource::Path(word) = written
                && let Some(remote) = remote(word, add)?
            {
                *source = CopySource::Remote(Box::new(remote));
            }
        }
        Ok((Some(row), Action::Copy(action)))
    }

    fn transfer(
        &mut self,
        keyword: &str,
        transfer: &Transfer,
        from: Tree,
        span: Span,
    ) -> Result<(String, CopyAction), Diagnostic> {
        let mut row = keyword.to_owned();
        let text =
            |word: &Option<Word>| word.as_ref().map(|word| word.text.clone()).filter(|text| !text.is_empty());
        let (chown, chmod) = (text(&transfer.chown), text(&transfer.chmod));
        for (flag, value) in [("chown", &chown), ("chmod", &chmod)] {
            if let Some(value) = value {
                row.push_str(&format!(" --{flag}={value}"));
            }
        }
        check_flags(transfer)?;
        let mut sources = Vec::new();
        for source in in_order(transfer) {
            match source {
                TransferSource::Path(path) => {
                    row.push_str(&format!(" {}", path.text));
                    sources.push(CopySource::Path(path.text.clone()));
                }
                TransferSource::Heredoc(heredoc) => {
                    row.push_str(&format!(" <<{}", heredoc.name));
                    sources.push(CopySource::Inline { name: heredoc.name.clone(), content: heredoc.text() });
                }
            }
        }
        let written = &transfer.destination.text;
        row.push_str(&format!(" {written} # buildkit"));
        let mut destination = self
            .working_directory(span)?
            .join(written)
            .map_err(|error| Diagnostic::error(transfer.destination.span, error.to_string()))?
            .to_string();
        let is_directory =
            written.is_empty() || written == "." || written.ends_with('/') || written.ends_with("/.");
        if is_directory && !destination.ends_with('/') {
            destination.push('/');
        }
        let exclude = transfer.exclude.iter().map(|pattern| pattern.text.clone()).collect();
        // As BuildKit: with --chmod a copy is never linked.
        let link = transfer.link && chmod.is_none();
        if let Some(owner) = transfer.chown.as_ref().filter(|_| link) {
            check_linked_owner(owner)?;
        }
        let (parents, unpack_archives) = (false, false);
        let action =
            CopyAction { from, sources, destination, chown, chmod, exclude, parents, link, unpack_archives };
        Ok((row, action))
    }
}

/// What can be said of modes, patterns and names before anything is copied.
fn check_flags(transfer: &Transfer) -> Result<(), Diagnostic> {
    if let Some(mode) = transfer.chmod.as_ref().filter(|mode| !mode.text.is_empty()) {
        ModeChange::parse(&mode.text).map_err(|error| Diagnostic::error(mode.span, error.to_string()))?;
    }
    for pattern in &transfer.exclude {
        Patterns::new([&pattern.text])
            .map_err(|(_, error)| Diagnostic::error(pattern.span, format!("--exclude: {error}")))?;
    }
    for source in &transfer.sources {
        if let TransferSource::Heredoc(heredoc) = source
            && (heredoc.name.contains('/') || [".", ".."].contains(&heredoc.name.as_str()))
        {
            let message = format!("{:?} cannot be the name of a here-document", heredoc.name);
            return Err(Diagnostic::error(heredoc.span, message)
                .with_help("name the file alone, and its directory in the destination"));
        }
    }
    Ok(())
}

/// A linked layer knows no users and groups: nothing is below it.
fn check_linked_owner(owner: &Word) -> Result<(), Diagnostic> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if owner.text.split(':').all(is_number) {
        return Ok(());
    }
    let message = format!("--chown={} is no number: invalid user index with --link", owner.text);
    Err(Diagnostic::error(owner.span, message)
        .with_help("a linked layer does not see the base's users: write UID:GID, or leave --link out"))
}

/// The sources in the order in which BuildKit takes them: paths, then here-documents.
fn in_order(transfer: &Transfer) -> impl Iterator<Item = &TransferSource> {
    let is_path = |source: &&TransferSource| matches!(source, TransferSource::Path(_));
    transfer.sources.iter().filter(is_path).chain(transfer.sources.iter().filter(move |it| !is_path(it)))
}

/// What ADD fetches instead of reading it from the context.
fn remote(word: &Word, add: &AddInstruction) -> Result<Option<RemoteCopy>, Diagnostic> {
    let Some(source) = RemoteSource::parse(&word.text) else { return Ok(None) };
    let source = source.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Diagnostic::error(word.span, format!("{error}{cause}"))
    })?;
    let mut copy = RemoteCopy {
        checksum: None,
        commit: None,
        keep_git_dir: false,
        unpack: add.unpack == Some(true),
        source,
    };
    match (&copy.source, &add.checksum) {
        (RemoteSource::Git(git), commit) => {
            if let (Some(flag), Some(query)) = (add.keep_git_dir, git.keep_git_dir())
                && flag != query
            {
                let span = add.keep_git_dir_span.unwrap_or(word.span);
                return Err(Diagnostic::error(span, "inconsistent keep-git-dir configuration")
                    .with_help("the flag and the address say different things"));
            }
            if let (Some(flag), Some(query)) = (commit, git.checksum())
                && flag.text != query
            {
                let message = format!("checksum mismatch {:?} != {query:?}", flag.text);
                return Err(Diagnostic::error(flag.span, message)
                    .with_help("the flag and the address say different things"));
            }
            copy.keep_git_dir = add.keep_git_dir.or(git.keep_git_dir()).unwrap_or(false);
            copy.commit = commit.as_ref().map(|word| word.text.clone());
        }
        (_, Some(checksum)) => {
            let wrong = |error: ChecksumError| Diagnostic::error(checksum.span, error.to_string());
            copy.checksum = Some(Checksum::parse(&checksum.text).map_err(wrong)?);
        }
        (_, None) => {}
    }
    Ok(Some(copy))
}

/// `--checksum` is for one remote source.
fn check_checksum(add: &AddInstruction) -> Result<(), Diagnostic> {
    let Some(checksum) = &add.checksum else { return Ok(()) };
    let wrong = |message: &str| Err(Diagnostic::error(checksum.span, message));
    match add.transfer.sources.as_slice() {
        [TransferSource::Path(word)] if RemoteSource::parse(&word.text).is_some() => Ok(()),
        [_] => wrong("checksum requires HTTP(S) or Git sources"),
        _ => wrong("checksum can't be specified for multiple sources"),
    }
}
