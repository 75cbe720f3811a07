//! `RUN --mount=`: any options give a mount or a finding about a place in the line.

use std::sync::Arc;

use zuwai_dockerfile::expand::NoVariables;
use zuwai_dockerfile::mount::{Mount, MountFlag, MountKind};
use zuwai_dockerfile::{Expander, InstructionKind, Source, parse};

use crate::input::{Variables, text_and_variables};
use crate::spans;

/// Checks the text of one flag with variables.
pub fn check(data: &[u8]) {
    let Some((options, variables)) = text_and_variables(data) else { return };
    let text = format!("FROM scratch\nRUN --mount={options} true\n");
    match parse("Dockerfile", text.as_bytes()) {
        Err(errors) => errors.list.iter().for_each(|error| spans::check_diagnostic(error, &errors.source)),
        Ok(dockerfile) => {
            let instructions = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
            for instruction in instructions {
                if let InstructionKind::Run(run) = &instruction.kind {
                    run.mounts.iter().for_each(|flag| check_flag(flag, &dockerfile.source, &variables));
                }
            }
        }
    }
}

fn check_flag(flag: &MountFlag, source: &Arc<Source>, variables: &Variables) {
    spans::check(flag, source);
    for escape in ['\\', '`'] {
        let expander = Expander::new(escape);
        match flag.resolve(&expander, variables) {
            Ok(mount) => check_mount(&mount, source),
            Err(error) => spans::check_diagnostic(&error, source),
        }
        // What holds nothing to expand was found right or wrong when it was parsed.
        let plain = |text: &str| !text.contains(['$', '"', '\'', '\\', '`']);
        if flag.fields.iter().all(|field| field.value.as_ref().is_none_or(|value| plain(&value.text))) {
            assert_eq!(flag.resolve(&expander, &NoVariables), flag.resolve(&expander, variables));
            assert!(flag.resolve(&expander, &NoVariables).is_ok());
        }
    }
}

fn check_mount(mount: &Mount, source: &Source) {
    spans::check(mount, source);
    let to_root = mount.target.starts_with('/') && mount.target.trim_matches(['/', '.']).is_empty();
    assert!(!to_root || mount.target.contains(".."), "{mount:?}");
    if let MountKind::Tmpfs { size } = mount.kind {
        assert!(i64::try_from(size).is_ok());
    }
}
