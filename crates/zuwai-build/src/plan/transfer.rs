//! COPY and ADD: which files go where.

use zuwai_dockerfile::ast::{AddInstruction, CopyInstruction, Transfer, TransferSource};
use zuwai_dockerfile::{Diagnostic, Span, Word};

use super::stage::{StageBuilder, not_supported};
use super::{Action, AddOptions, CopyAction, CopySource, Tree};

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
        let (row, mut action) = self.transfer("COPY", &copy.transfer, tree, span)?;
        action.parents = copy.parents;
        Ok((Some(row), Action::Copy(action)))
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
        if let Some(span) = add.keep_git_dir_span {
            return Err(not_supported(span, "ADD --keep-git-dir"));
        }
        for source in &add.transfer.sources {
            if let TransferSource::Path(path) = source
                && is_remote(&path.text)
            {
                return Err(not_supported(path.span, "ADD of a URL or git repository"));
            }
        }
        let (row, mut action) = self.transfer("ADD", &add.transfer, Tree::Context, span)?;
        action.add = Some(AddOptions { unpack: add.unpack });
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
        let mut sources = Vec::new();
        for source in &transfer.sources {
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
        let (parents, link, add) = (false, transfer.link, None);
        let action = CopyAction { from, sources, destination, chown, chmod, exclude, parents, link, add };
        Ok((row, action))
    }
}

/// Whether ADD fetches this source instead of reading it from the context.
fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|scheme| source.starts_with(scheme))
}
