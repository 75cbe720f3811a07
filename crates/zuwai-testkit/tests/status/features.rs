//! Which features of the Dockerfile language a text uses, under the names that `docs/status.md` gives them.

use std::collections::BTreeSet;

use zuwai_dockerfile::ast::{
    AddInstruction, CommandLine, CopyInstruction, HealthcheckInstruction, Instruction, InstructionKind,
    NetworkMode, RunInstruction, SecurityMode, Stage, Transfer, TransferSource,
};
use zuwai_dockerfile::mount::MountFlag;

/// The features of a Dockerfile; none of one that cannot be parsed.
#[must_use]
pub fn features(dockerfile: &[u8]) -> BTreeSet<String> {
    let mut found = Found::default();
    let text = String::from_utf8_lossy(dockerfile);
    for directive in ["syntax", "escape", "check"] {
        let is_directive = |line: &str| {
            line.strip_prefix('#').is_some_and(|rest| rest.trim_start().starts_with(&format!("{directive}=")))
        };
        found.when(text.lines().take_while(|line| line.starts_with('#')).any(is_directive), || {
            format!("# {directive}=")
        });
    }
    if let Ok(dockerfile) = zuwai_dockerfile::parse("Dockerfile", dockerfile) {
        found.when(!dockerfile.meta_args.is_empty(), || "ARG before FROM".to_owned());
        for stage in &dockerfile.stages {
            found.stage(stage);
        }
    }
    found.0
}

#[derive(Default)]
struct Found(BTreeSet<String>);

impl Found {
    fn add(&mut self, feature: impl Into<String>) {
        self.0.insert(feature.into());
    }

    fn when(&mut self, is_so: bool, feature: impl FnOnce() -> String) {
        if is_so {
            self.add(feature());
        }
    }

    fn stage(&mut self, stage: &Stage) {
        self.add("FROM");
        self.when(stage.from.name.is_some(), || "FROM … AS name".to_owned());
        self.when(stage.from.platform.is_some(), || "FROM --platform".to_owned());
        self.when(stage.from.image.text == "scratch", || "FROM scratch".to_owned());
        for instruction in &stage.instructions {
            self.instruction(instruction);
        }
    }

    fn instruction(&mut self, instruction: &Instruction) {
        let keyword = instruction.kind.keyword();
        self.add(keyword);
        match &instruction.kind {
            InstructionKind::Add(add) => self.adding(add),
            InstructionKind::Copy(copy) => self.copying(copy),
            InstructionKind::Run(run) => self.running(run),
            InstructionKind::Cmd(command) | InstructionKind::Entrypoint(command) => {
                self.form(keyword, command);
            }
            InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
                self.when(pairs.iter().any(|pair| pair.legacy), || format!("{keyword} key value"));
            }
            InstructionKind::Healthcheck(check) => self.healthcheck(check, &instruction.original),
            InstructionKind::Onbuild(onbuild) => {
                let trigger = onbuild.instruction.kind.keyword();
                self.add(format!("ONBUILD {trigger}"));
            }
            _ => {}
        }
    }

    fn form(&mut self, keyword: &str, command: &CommandLine) {
        let form = match command {
            CommandLine::Exec(_) => "exec",
            CommandLine::Shell(_) => "shell",
        };
        self.add(format!("{keyword}, {form} form"));
    }

    fn healthcheck(&mut self, check: &HealthcheckInstruction, text: &str) {
        match check {
            HealthcheckInstruction::None => self.add("HEALTHCHECK NONE"),
            HealthcheckInstruction::Command(check) => {
                self.form("HEALTHCHECK CMD", &check.command);
                for flag in ["interval", "timeout", "start-period", "start-interval", "retries"] {
                    self.when(text.contains(&format!("--{flag}=")), || format!("HEALTHCHECK --{flag}"));
                }
            }
        }
    }

    fn copying(&mut self, copy: &CopyInstruction) {
        self.transfer("COPY", &copy.transfer);
        self.when(copy.from.is_some(), || "COPY --from".to_owned());
        self.when(copy.parents, || "COPY --parents".to_owned());
    }

    fn adding(&mut self, add: &AddInstruction) {
        self.transfer("ADD", &add.transfer);
        self.when(add.checksum.is_some(), || "ADD --checksum".to_owned());
        self.when(add.keep_git_dir.is_some(), || "ADD --keep-git-dir".to_owned());
        self.when(add.unpack.is_some(), || "ADD --unpack".to_owned());
        for source in &add.transfer.sources {
            if let TransferSource::Path(path) = source {
                let git = path.text.starts_with("git") || path.text.contains(".git");
                let url = path.text.starts_with("http");
                self.when(git, || "ADD of a git repository".to_owned());
                self.when(url && !git, || "ADD of a URL".to_owned());
            }
        }
    }

    fn transfer(&mut self, keyword: &str, transfer: &Transfer) {
        for (flag, given) in [
            ("chown", transfer.chown.is_some()),
            ("chmod", transfer.chmod.is_some()),
            ("exclude", !transfer.exclude.is_empty()),
            ("link", transfer.link),
        ] {
            self.when(given, || format!("{keyword} --{flag}"));
        }
        for source in &transfer.sources {
            match source {
                TransferSource::Heredoc(heredoc) => {
                    self.add(format!("{keyword} <<NAME"));
                    self.when(!heredoc.expand, || format!("{keyword} <<\"NAME\""));
                    self.when(heredoc.chomp, || format!("{keyword} <<-NAME"));
                }
                TransferSource::Path(path) => {
                    self.when(path.text.contains(['*', '?', '[']), || format!("{keyword} of patterns"));
                }
            }
        }
        self.when(transfer.json, || format!("{keyword}, JSON form"));
    }

    fn running(&mut self, run: &RunInstruction) {
        self.form("RUN", &run.command);
        for heredoc in &run.heredocs {
            self.add("RUN <<NAME");
            self.when(heredoc.chomp, || "RUN <<-NAME".to_owned());
            self.when(!heredoc.expand, || "RUN <<\"NAME\"".to_owned());
            self.when(heredoc.content.starts_with("#!"), || "RUN <<NAME with #!".to_owned());
        }
        self.when(run.heredocs.len() > 1, || "RUN with several here-documents".to_owned());
        for mount in &run.mounts {
            self.mount(mount);
        }
        if let Some((network, _)) = run.network {
            let network = match network {
                NetworkMode::Default => "default",
                NetworkMode::None => "none",
                NetworkMode::Host => "host",
            };
            self.add(format!("RUN --network={network}"));
        }
        if let Some((security, _)) = run.security {
            let security = match security {
                SecurityMode::Sandbox => "sandbox",
                SecurityMode::Insecure => "insecure",
            };
            self.add(format!("RUN --security={security}"));
        }
        self.when(!run.devices.is_empty(), || "RUN --device".to_owned());
    }

    fn mount(&mut self, mount: &MountFlag) {
        let value = |key: &str| {
            let field = mount.fields.iter().find(|field| field.key.text == key)?;
            Some(field.value.as_ref().map(|value| value.text.clone()).unwrap_or_default())
        };
        let kind = value("type").unwrap_or_else(|| "bind".to_owned());
        // A variable stands for a type that another case has.
        if kind.contains('$') {
            return;
        }
        self.add(format!("RUN --mount=type={kind}"));
        for field in &mount.fields {
            let option = match field.key.text.as_str() {
                "type" => continue,
                "dst" | "destination" => "target",
                "src" => "source",
                "readonly" => "ro",
                "readwrite" => "rw",
                other => other,
            };
            let option = match (option, value("sharing")) {
                ("sharing", Some(sharing)) => format!("sharing={sharing}"),
                (option, _) => option.to_owned(),
            };
            self.add(format!("RUN --mount=type={kind}, {option}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dockerfile_has_the_features_that_it_uses() {
        let text = "# escape=`\nARG A\nFROM scratch AS s\nRUN --mount=type=cache,dst=/c,sharing=locked <<-E cat\n\tx\n\tE\n\
                    COPY --link --chmod=1 a* /b\nONBUILD ADD x /\n";
        let found: Vec<String> = features(text.as_bytes()).into_iter().collect();
        let expected = [
            "# escape=",
            "ARG before FROM",
            "COPY",
            "COPY --chmod",
            "COPY --link",
            "COPY of patterns",
            "FROM",
            "FROM scratch",
            "FROM … AS name",
            "ONBUILD",
            "ONBUILD ADD",
            "RUN",
            "RUN --mount=type=cache",
            "RUN --mount=type=cache, sharing=locked",
            "RUN --mount=type=cache, target",
            "RUN <<-NAME",
            "RUN <<NAME",
            "RUN, shell form",
        ];
        assert_eq!(found, expected);
    }
}
