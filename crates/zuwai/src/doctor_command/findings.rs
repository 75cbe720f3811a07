//! What a survey found, a line each.

use zuwai_rootfs::ctime::Ctime;
use zuwai_rootfs::isolation::Mode;
use zuwai_rootfs::survey::capability::{self, names};
use zuwai_rootfs::survey::{Ability, Survey, ability};

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// There, but not all of it.
    Limited,
    /// Not there.
    Missing,
}

impl State {
    /// The word for it, in both forms.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Limited => "limited",
            Self::Missing => "no",
        }
    }

    fn of(good: bool, otherwise: Self) -> Self {
        if good { Self::Good } else { otherwise }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: one word.
    pub name: &'static str,
    /// How good it is.
    pub state: State,
    /// What was found, and what that prevents.
    pub text: String,
}

fn finding(name: &'static str, state: State, text: impl Into<String>) -> Finding {
    Finding { name, state, text: text.into() }
}

/// All findings about the place.
pub fn place(survey: &Survey) -> Vec<Finding> {
    let mut findings = vec![isolation(survey), overlay(survey), state(survey)];
    findings.extend(ctime(survey));
    findings.push(user(survey));
    findings.push(capabilities(survey));
    findings.extend(filters(survey));
    findings
}

/// What of a Dockerfile can be had.
pub fn abilities(survey: &Survey) -> Vec<(Ability, Finding)> {
    let line = |ability: &Ability| {
        let (state, text) = match ability::verdict(survey, *ability) {
            Ok(()) => (State::Good, ability.about().to_owned()),
            Err(why) => (State::Missing, format!("{}: {why}", ability.about())),
        };
        (*ability, finding(ability.name(), state, text))
    };
    ability::ALL.iter().map(line).collect()
}

fn isolation(survey: &Survey) -> Finding {
    match &survey.isolation {
        Ok(choice) => {
            let state = State::of(choice.mode == Mode::Namespaces, State::Limited);
            finding("isolation", state, choice.to_string())
        }
        Err(error) => {
            let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
            let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
            finding("isolation", State::Missing, text)
        }
    }
}

fn overlay(survey: &Survey) -> Finding {
    match survey.isolation.as_ref().map(|choice| &choice.overlay) {
        Ok(Ok(())) => finding("overlay", State::Good, "layers are directories, mounted over one another"),
        Ok(Err(why)) => finding("overlay", State::Limited, format!("every RUN is followed by a scan: {why}")),
        Err(_) => finding("overlay", State::Missing, "not without namespaces"),
    }
}

fn state(survey: &Survey) -> Finding {
    let state = &survey.state;
    let shown = match &state.kind {
        Some(kind) => format!("{} ({kind})", state.path.display()),
        None => state.path.display().to_string(),
    };
    match &state.refused {
        Some(error) => finding("state", State::Missing, format!("{shown} cannot hold files: {error}")),
        None if state.no_exec => {
            let text = format!("{shown} is mounted with noexec: no command can run in a directory there");
            finding("state", State::Limited, text)
        }
        None => finding("state", State::Good, shown),
    }
}

fn ctime(survey: &Survey) -> Option<Finding> {
    let (state, text) = match survey.ctime? {
        Ctime::Kept => (State::Good, "tells which files a RUN has changed".to_owned()),
        Ctime::Doubtful(doubt) => (State::Limited, format!("contents are read after every RUN: {doubt}")),
    };
    Some(finding("ctime", state, text))
}

fn user(survey: &Survey) -> Finding {
    let who = match survey.process.uid {
        0 => "root".to_owned(),
        uid => format!("uid {uid}"),
    };
    if let Some(error) = &survey.refused {
        return finding(
            "user",
            State::Missing,
            format!("{who}, who cannot be root in a user namespace: {error}"),
        );
    }
    match &survey.ids {
        Some(ids) if ids.is_single() => finding(
            "user",
            State::Limited,
            format!("{who}, with one user id: no grant in /etc/subuid, or no newuidmap"),
        ),
        Some(ids) if !ids.is_usual() => {
            finding("user", State::Limited, format!("{who}, with fewer than 65536 user or group ids"))
        }
        _ => finding("user", State::Good, format!("{who}, with ids 0 to 65535")),
    }
}

fn capabilities(survey: &Survey) -> Finding {
    let missing = survey.capabilities.missing(&capability::ALL);
    if missing.is_empty() {
        return finding("capabilities", State::Good, "all that building takes");
    }
    let state = if missing == capability::ALL { State::Missing } else { State::Limited };
    finding("capabilities", state, format!("without {}", names(&missing)))
}

/// What refuses things, whatever capabilities there are.
fn filters(survey: &Survey) -> Vec<Finding> {
    let process = &survey.process;
    let isolated = survey.isolation.as_ref().is_ok_and(|choice| choice.mode == Mode::Namespaces);
    let mut findings = Vec::new();
    if process.seccomp {
        let (state, text) = if isolated {
            (State::Good, "a filter that lets namespaces through")
        } else if process.unshare_refused().is_some() && process.settings.is_empty() {
            (State::Missing, "a filter refuses unshare, so that there are no namespaces")
        } else {
            (State::Limited, "a filter is there, which lets unshare through")
        };
        findings.push(finding("seccomp", state, text));
    }
    if let Some(label) = &process.confinement {
        let text = if isolated {
            format!("{label}, which lets mounts through")
        } else {
            format!("{label}, which may refuse mounts")
        };
        findings.push(finding("confinement", State::of(isolated, State::Limited), text));
    }
    for setting in &process.settings {
        let text = format!("{} is {}: set it to {} on the node", setting.name, setting.value, setting.wanted);
        findings.push(finding("kernel", State::of(isolated, State::Missing), text));
    }
    if process.no_new_privileges {
        findings.push(finding(
            "privileges",
            State::Limited,
            "no_new_privs: set-uid programs such as newuidmap and sudo gain nothing",
        ));
    }
    if let Some(error) = &survey.root_refused {
        let text = format!("nothing can be built in the container's own /, which cannot be written: {error}");
        findings.push(finding("root", State::of(isolated, State::Limited), text));
    }
    if isolated && !survey.masked.is_empty() {
        findings.push(finding(
            "proc",
            State::Good,
            "parts are masked, so that commands see the container's /proc, not a fresh one",
        ));
    }
    findings
}
