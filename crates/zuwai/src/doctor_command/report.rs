//! The two forms of a report: lines for people, a document for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};
use zuwai_rootfs::survey::Survey;
use zuwai_rootfs::survey::capability;

use super::advice::{Advice, advice};
use super::findings::{self, Finding};

/// A line for each finding, then what to add.
pub fn text(survey: &Survey) -> String {
    let mut text = String::from("This place:\n");
    push_lines(&mut text, findings::place(survey).iter());
    let missing = survey.capabilities.missing(&capability::ALL);
    for capability in missing {
        // Writing to a String does not fail.
        let _ = writeln!(text, "             without CAP_{}: {}", capability.name(), capability.prevents());
    }
    text += "Dockerfiles:\n";
    let abilities = findings::abilities(survey);
    push_lines(&mut text, abilities.iter().map(|(_, finding)| finding));
    for advice in advice(survey) {
        push_advice(&mut text, &advice);
    }
    text
}

fn push_lines<'a>(text: &mut String, findings: impl Iterator<Item = &'a Finding>) {
    for Finding { name, state, text: line } in findings {
        let _ = writeln!(text, "  {:8} {name:13} {line}", state.word());
    }
}

fn push_advice(text: &mut String, advice: &Advice) {
    let _ = writeln!(text, "To get {}:", advice.gives);
    for line in &advice.pod {
        let _ = writeln!(text, "    {line}");
    }
    // Docker maps ids for all its containers or for none.
    let engine = if advice.run.iter().any(|flag| flag.starts_with("--uidmap")) { "podman" } else { "docker" };
    let _ = writeln!(text, "  or {engine} run {}", advice.run.join(" "));
}

/// The same for programs. Names stay as they are from version to version; texts do not.
pub fn json(survey: &Survey) -> String {
    let choice = survey.isolation.as_ref().ok();
    let findings: Vec<Value> = findings::place(survey).iter().map(document).collect();
    let abilities: Vec<Value> =
        findings::abilities(survey).iter().map(|(_, finding)| document(finding)).collect();
    let missing: Vec<Value> = survey
        .capabilities
        .missing(&capability::ALL)
        .into_iter()
        .map(|capability| json!({ "name": capability.name(), "prevents": capability.prevents() }))
        .collect();
    let advice: Vec<Value> = advice(survey)
        .into_iter()
        .map(|advice| json!({ "gives": advice.gives, "pod": advice.pod, "run": advice.run }))
        .collect();
    let document = json!({
        "isolation": choice.map(|choice| choice.mode.to_string()),
        "overlay": choice.is_some_and(|choice| choice.overlay.is_ok()),
        "findings": findings,
        "missingCapabilities": missing,
        "abilities": abilities,
        "advice": advice,
    });
    format!("{document:#}\n")
}

fn document(finding: &Finding) -> Value {
    json!({ "name": finding.name, "state": finding.state.word(), "text": finding.text })
}
