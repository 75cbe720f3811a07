//! `docs/environments.md`: the table, and what `executor doctor` says of each environment.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::build::BUILDS;
use crate::place::Place;

const BEGIN: &str = "<!-- from here on made by the tests: ZUWAI_UPDATE=1 cargo test -p zuwai-testkit --test environments -->\n";
const END: &str = "<!-- to here -->\n";

/// What is known of one environment: a row.
pub struct Row<'a> {
    pub place: &'a Place,
    /// `namespaces, overlay` and the like.
    pub isolation: String,
    /// Why a build fails, by its number in [`BUILDS`]; those that are not there succeed.
    pub failures: Vec<(usize, String)>,
    /// What the doctor says to add, as lines of a pod.
    pub advice: Vec<(String, Vec<String>)>,
}

/// The part of the page that is made.
pub fn render(rows: &[Row<'_>]) -> String {
    let mut text = String::from("| environment | isolation |");
    for build in &BUILDS {
        let _ = write!(text, " {} |", build.name);
    }
    text += "\n|---|---|";
    text += &"---|".repeat(BUILDS.len());
    text += "\n";
    for row in rows {
        let _ = write!(text, "| {} | {} |", row.place.name, row.isolation);
        for number in 0..BUILDS.len() {
            let fails = row.failures.iter().any(|(failing, _)| *failing == number);
            text += if fails { " **no** |" } else { " yes |" };
        }
        text += "\n";
    }
    text += "\nThe builds:\n\n";
    for build in &BUILDS {
        let _ = writeln!(text, "- **{}**: {}.", build.name, build.about);
    }
    for row in rows {
        let _ = write!(text, "\n### {}\n\n{}.\n", row.place.name, capital(row.place.about));
        if !row.failures.is_empty() {
            text += "\nWhat fails, in `executor doctor`'s words:\n\n";
        }
        for (reason, builds) in grouped(&row.failures) {
            let _ = writeln!(text, "- {builds}: {reason}.");
        }
        for (gives, lines) in &row.advice {
            let _ = write!(text, "\nTo get {gives}:\n\n```yaml\n{}\n```\n", lines.join("\n"));
        }
    }
    text
}

/// Builds that fail for one reason share a line.
fn grouped(failures: &[(usize, String)]) -> Vec<(&str, String)> {
    let mut groups: Vec<(&str, String)> = Vec::new();
    for (number, reason) in failures {
        let name = BUILDS[*number].name;
        match groups.iter_mut().find(|(known, _)| known == reason) {
            Some((_, names)) => {
                let _ = write!(names, ", {name}");
            }
            None => groups.push((reason, name.to_owned())),
        }
    }
    groups
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Compares the page with what it should be; with `ZUWAI_UPDATE=1`, writes it.
pub fn check(made: &str) {
    let page: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/environments.md");
    let written = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = written.split_once(BEGIN).expect("the page has the first mark");
    let (_, after) = rest.split_once(END).expect("the page has the second mark");
    let expected = format!("{before}{BEGIN}{made}{END}{after}");
    if std::env::var_os("ZUWAI_UPDATE").is_some() {
        std::fs::write(&page, &expected).unwrap();
    }
    let current = std::fs::read_to_string(&page).unwrap() == expected;
    assert!(current, "docs/environments.md is not what was seen; ZUWAI_UPDATE=1 writes it:\n{made}");
}
