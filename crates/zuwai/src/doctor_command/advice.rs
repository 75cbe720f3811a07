//! What to add to a pod or a container so that more can be had.

use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::survey::Survey;
use zuwai_rootfs::survey::capability::{Capability, names};

/// What to add, for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What it gives.
    pub gives: String,
    /// Lines of a pod's specification.
    pub pod: Vec<String>,
    /// Flags of `docker run` and `podman run`; `--uidmap` is of `podman run` alone.
    pub run: Vec<String>,
}

/// What root needs to map ids.
const MAPPING: [Capability; 3] = [Capability::Setuid, Capability::Setgid, Capability::Setfcap];

/// What root needs to build in place without a limit that hurts: kaniko's documented set, and file capabilities.
const IN_PLACE: [Capability; 8] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Kill,
];

/// All advice for a place, the most useful first.
pub fn advice(survey: &Survey) -> Vec<Advice> {
    let mode = survey.isolation.as_ref().ok().map(|choice| choice.mode);
    let mut advice = Vec::new();
    if survey.state.refused.is_some() || survey.state.no_exec {
        advice.push(volume("a state directory that can be used", survey));
    }
    if mode != Some(Mode::Namespaces) && survey.state.refused.is_none() {
        advice.extend(namespaces(survey));
    }
    if survey.process.uid == 0 && mode != Some(Mode::Namespaces) {
        advice.extend(capabilities("all that RUN may ask for in place", survey, &IN_PLACE));
    }
    let slow = survey.isolation.as_ref().is_ok_and(|choice| choice.overlay.is_err());
    if mode == Some(Mode::Namespaces) && slow && survey.state.kind.as_deref() == Some("overlay") {
        advice.push(volume("an overlay, which needs no scan after a RUN", survey));
    }
    let single = survey.ids.as_ref().is_some_and(zuwai_rootfs::userns::IdMaps::is_single);
    if single && mode == Some(Mode::Namespaces) {
        advice.push(Advice {
            gives: "all user ids, still not the node's root: a pod with a user namespace of its own"
                .to_owned(),
            pod: lines(&["hostUsers: false", "securityContext:", "  runAsUser: 0"]),
            run: lines(&["--user=0", "--uidmap=0:100000:65536"]),
        });
    }
    advice
}

fn namespaces(survey: &Survey) -> Vec<Advice> {
    let mut advice = Vec::new();
    let missing = survey.capabilities.missing(&MAPPING);
    if survey.process.uid == 0 && !missing.is_empty() {
        let gives = format!("user ids in a namespace ({})", names(&missing));
        advice.extend(capabilities(&gives, survey, &MAPPING));
    }
    if survey.process.seccomp
        && survey.process.settings.is_empty()
        && survey.process.unshare_refused().is_some()
    {
        advice.push(Advice {
            gives: "namespaces, where the seccomp filter refuses them; a Localhost profile that allows unshare, mount and pivot_root does too"
                .to_owned(),
            pod: lines(&["securityContext:", "  seccompProfile:", "    type: Unconfined"]),
            run: lines(&["--security-opt=seccomp=unconfined"]),
        });
    }
    if survey.process.confinement.is_some() {
        advice.push(Advice {
            gives: "namespaces, where AppArmor refuses their mounts".to_owned(),
            pod: lines(&["securityContext:", "  appArmorProfile:", "    type: Unconfined"]),
            run: lines(&["--security-opt=apparmor=unconfined"]),
        });
    }
    advice
}

fn capabilities(gives: &str, survey: &Survey, wanted: &[Capability]) -> Option<Advice> {
    let missing = survey.capabilities.missing(wanted);
    if missing.is_empty() {
        return None;
    }
    let listed: Vec<&str> = missing.iter().map(|capability| capability.name()).collect();
    Some(Advice {
        gives: gives.to_owned(),
        pod: lines(&["securityContext:", "  capabilities:", &format!("    add: [{}]", listed.join(", "))]),
        run: listed.iter().map(|name| format!("--cap-add={name}")).collect(),
    })
}

fn volume(gives: &str, survey: &Survey) -> Advice {
    let path = if survey.state.path.starts_with("/kaniko") {
        "/zuwai".into()
    } else {
        survey.state.path.display().to_string()
    };
    Advice {
        gives: format!("{gives}: a volume, named by KANIKO_DIR, --kaniko-dir or --root-dir"),
        pod: lines(&[
            "env: [{name: KANIKO_DIR, value: PATH}]",
            "volumeMounts: [{name: zuwai, mountPath: PATH}]",
            "volumes: [{name: zuwai, emptyDir: {}}]",
        ])
        .into_iter()
        .map(|line| line.replace("PATH", &path))
        .collect(),
        run: vec![format!("--volume={path}"), format!("--env=KANIKO_DIR={path}")],
    }
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}
