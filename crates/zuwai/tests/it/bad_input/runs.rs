//! Commands that fail.

use zuwai_testkit::need::{Need, REGISTRY, needs};

use crate::scene::{Scene, transcript};

#[test]
fn a_failing_run_gives_its_exit_code() {
    if !needs(REGISTRY) || !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let mut cases = Vec::new();
    for (code, step) in [
        (3, "RUN exit 3"),
        (1, "RUN echo said >&2; false"),
        (255, "RUN exit 255"),
        (127, "RUN not-a-command"),
        (137, "RUN kill -KILL $$"),
        (143, "RUN kill -TERM $$"),
        (7, "RUN true && \\\n  exit 7\nRUN exit 3"),
        (1, "RUN [\"/not/there\"]"),
        (1, "RUN [\"not-there\", \"argument\"]"),
        (1, "RUN [\"/etc/passwd\"]"),
        (1, "USER nobody-there\nRUN true"),
    ] {
        let said = scene.fails(&format!("FROM REGISTRY/busybox\nRUN true\n{step}\n"), code);
        cases.push((step.replace('\n', "⏎"), said));
    }
    insta::assert_snapshot!(transcript(cases));
}

#[test]
fn a_failing_trigger_of_a_base_is_named() {
    if !needs(REGISTRY) || !needs(&[Need::Root]) {
        return;
    }
    let scene = Scene::new();
    let base = scene.path("base");
    let built = std::process::Command::new(env!("CARGO_BIN_EXE_zuwai"))
        .args(["build", "--quiet", "--push"])
        .arg(format!("--tag={}", scene.registry.reference("trigger")))
        .arg(format!("--root-dir={}", base.display()))
        .arg({
            let context = scene.path("trigger");
            std::fs::create_dir(&context).unwrap();
            let text = format!("FROM {}\nONBUILD RUN exit 5\n", scene.registry.reference("busybox"));
            std::fs::write(context.join("Dockerfile"), text).unwrap();
            context
        })
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    insta::assert_snapshot!(scene.fails("FROM REGISTRY/trigger\n", 5));
}
