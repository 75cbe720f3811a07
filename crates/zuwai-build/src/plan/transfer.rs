//! COPY and ADD: which files go where.

use zuwai_dockerfile::ast::{AddInstruction, CopyInstruction, Transfer, TransferSource};
use zuwai_dockerfile::{Diagnostic, Span, Word};

use super::stage::{StageBuilder, not_supported};
use super::{Action, CopyAction, Tree};

impl StageBuilder {
    /// COPY: its history row and what it does.
    ///
    /// # Errors
    /// When it asks for what is not supported yet.
    pub(super) fn copy(
        &mut self,
        copy: &CopyInstruction,
        tree: Tree,
        span: Span,
    ) -> Result<(Option<String>, Action), Diagnostic> {
        if let Some(span) = copy.parents_span {
            return Err(not_supported(span, "COPY --parents"));
        }
        self.transfer("COPY", &copy.transfer, tree, span)
    }

    /// ADD: its history row and what it does.
    ///
    /// # Errors
    /// When it asks for what is not supported yet.
    pub(super) fn add(
        &mut self,
        add: &AddInstruction,
        span: Span,
    ) -> Result<(Option<String>, Action), Diagnostic> {
        if let Some(checksum) = &add.checksum {
            return Err(not_supported(checksum.span, "ADD --checksum"));
        }
        for (span, flag) in [(add.keep_git_dir_span, "--keep-git-dir"), (add.unpack_span, "--unpack")] {
            if let Some(span) = span {
                return Err(not_supported(span, format!("ADD {flag}")));
            }
        }
        for source in &add.transfer.sources {
            if let TransferSource::Path(path) = source
                && is_remote(&path.text)
            {
                return Err(not_supported(path.span, "ADD of a URL or git repository"));
            }
        }
        self.transfer("ADD", &add.transfer, Tree::Context, span)
    }

    fn transfer(
        &mut self,
        keyword: &str,
        transfer: &Transfer,
        from: Tree,
        span: Span,
    ) -> Result<(Option<String>, Action), Diagnostic> {
        if let Some(span) = transfer.link_span.filter(|_| transfer.link) {
            return Err(not_supported(span, format!("{keyword} --link")));
        }
        if let Some(pattern) = transfer.exclude.first() {
            return Err(not_supported(pattern.span, format!("{keyword} --exclude")));
        }
        let mut row = keyword.to_owned();
        let text =
            |word: &Option<Word>| word.as_ref().map(|word| word.text.clone()).filter(|text| !text.is_empty());
        let (chown, chmod) = (text(&transfer.chown), text(&transfer.chmod));
        for (flag, value) in [("chown", &chown), ("chmod", &chmod)] {
            if let Some(value) = value {
                row.push_str(&format!(" --{flag}={value}"));
            }
        }
        let mut sources = Vec::new();
        for source in &transfer.sources {
            match source {
                TransferSource::Path(path) => {
                    row.push_str(&format!(" {}", path.text));
                    sources.push(path.text.clone());
                }
                TransferSource::Heredoc(heredoc) => {
                    return Err(not_supported(heredoc.span, format!("a here-document of {keyword}")));
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
        let unpack_archives = keyword == "ADD";
        Ok((
            Some(row),
            Action::Copy(CopyAction { from, sources, destination, chown, chmod, unpack_archives }),
        ))
    }
}

/// Whether ADD fetches this source instead of reading it from the context.
fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|scheme| source.starts_with(scheme))
}
