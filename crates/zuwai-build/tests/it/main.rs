//! Plans of whole Dockerfiles, as golden files: stages, steps, configuration and history.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use zuwai_build::BuildError;
use zuwai_build::named_context::{NamedContext, NamedContexts};
use zuwai_build::plan::planner::{Images, Inputs, images_to_expect, plan};
use zuwai_build::plan::{Action, ImageKey, ImageSource, Plan};
use zuwai_oci::archive::LayoutReference;
use zuwai_oci::config::{Created, ImageConfig};
use zuwai_oci::platform::Platform;
use zuwai_oci::reference::Reference;
use zuwai_rootfs::step_mount::StepNetwork;

/// Bases by their familiar name; whatever is not here has an empty configuration.
#[derive(Default)]
struct Bases(BTreeMap<&'static str, ImageConfig>);

impl Images for Bases {
    fn config(&self, image: &ImageKey) -> Result<Arc<ImageConfig>, BuildError> {
        let familiar = image.source.familiar();
        let name = familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned();
        let empty = || ImageConfig::empty(&image.platform);
        Ok(Arc::new(self.0.get(name.as_str()).cloned().unwrap_or_else(empty)))
    }
}

fn inputs(args: &[(&str, &str)], target: Option<&str>) -> Inputs {
    let platform = Platform::parse("linux/amd64").unwrap();
    Inputs {
        build_args: args.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        target: target.map(str::to_owned),
        host: platform.clone(),
        platform,
        proxy_env: Vec::new(),
        created: Created::parse("2026-01-02T03:04:05Z").unwrap(),
        network: StepNetwork::Host,
        contexts: NamedContexts::default(),
        single_snapshot: false,
    }
}

fn try_plan(
    text: &str,
    args: &[(&str, &str)],
    target: Option<&str>,
    bases: &Bases,
) -> Result<Plan, BuildError> {
    let dockerfile = zuwai_dockerfile::parse("Dockerfile", text.as_bytes())?;
    plan(&dockerfile, &inputs(args, target), bases)
}

/// As [`golden`], with named contexts.
fn golden_with_contexts(name: &str, text: &str, contexts: &[(&str, NamedContext)], bases: &Bases) {
    let mut inputs = inputs(&[], None);
    for (name, context) in contexts {
        inputs.contexts.insert(name, context.clone()).unwrap();
    }
    let dockerfile = zuwai_dockerfile::parse("Dockerfile", text.as_bytes()).unwrap();
    let expected = images_to_expect(&dockerfile, &inputs).unwrap();
    let mut shown = show(&plan(&dockerfile, &inputs, bases).unwrap());
    for image in expected {
        let _ = writeln!(shown, "expects {} for {}", image.image.source, image.image.platform);
    }
    insta::assert_snapshot!(name, shown);
}

fn show(plan: &Plan) -> String {
    let mut text = String::new();
    for (position, stage) in plan.stages.iter().enumerate() {
        let _ = writeln!(
            text,
            "{position}: stage {} {:?} on {:?} for {}",
            stage.number, stage.name, stage.base, stage.platform
        );
        for step in &stage.steps {
            let _ = writeln!(text, "  {}", step.text);
            match &step.action {
                Action::Config => {}
                action => {
                    let _ = writeln!(text, "    -> {action:?}");
                }
            }
        }
        for row in &stage.config.history {
            let _ = writeln!(
                text,
                "  history {}: {}",
                if row.empty_layer { "empty" } else { "layer" },
                row.created_by
            );
        }
        let config = String::from_utf8(stage.config.to_bytes().unwrap()).unwrap();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        let _ = writeln!(text, "  config {}", config["config"]);
    }
    text
}

fn golden(name: &str, text: &str, args: &[(&str, &str)], target: Option<&str>, bases: &Bases) {
    let shown = match try_plan(text, args, target, bases) {
        Ok(plan) => show(&plan),
        Err(error) => format!("error: {error}\n"),
    };
    insta::assert_snapshot!(name, shown);
}

#[test]
fn only_what_the_target_needs_is_planned_each_after_its_needs() {
    let text = "FROM a AS one\nRUN one\nFROM b AS unused\nRUN unused\nFROM one AS two\nRUN two\n\
                FROM scratch\nCOPY --from=two /x /x\nCOPY --from=0 /y /y\nCOPY --from=img:1 /z /z\n";
    golden("stages", text, &[], None, &Bases::default());
    golden("stages_target_by_name", text, &[], Some("TWO"), &Bases::default());
    golden("stages_target_is_no_number", text, &[], Some("1"), &Bases::default());
    golden("stages_target_unknown", text, &[], Some("three"), &Bases::default());
}

#[test]
fn variables_have_buildkits_scopes() {
    let text = "ARG G=glob H=$G\nARG IMG=base\nFROM $IMG:${H} AS one\nARG G\nARG A=1 B=$A\nENV E=$G-$B\nARG E=later\nRUN x $E\n\
                FROM one\nARG NOVAL\nARG TARGETARCH\nENV N=${NOVAL:-none} A=env X=$A\nRUN [\"y\"]\n";
    golden("variables", text, &[], None, &Bases::default());
    golden(
        "variables_build_args",
        text,
        &[("A", "a=b"), ("IMG", "other"), ("NOVAL", ""), ("HTTP_PROXY", "p")],
        None,
        &Bases::default(),
    );
}

#[test]
fn configuration_follows_the_instructions() {
    let text = "FROM scratch\nMAINTAINER me\nENV A=1 B=\"two words\"\nLABEL a=b \"c d\"=\"e f\"\nWORKDIR /app\nWORKDIR sub/../other\n\
                USER app:extra\nEXPOSE 80 443/udp 7000-7002\nVOLUME /data /data2\nVOLUME [\"/d3\"]\nSTOPSIGNAL SIGUSR1\n\
                HEALTHCHECK --interval=5s --retries=2 CMD curl x\nSHELL [\"/bin/sh\",\"-ec\"]\nONBUILD RUN trig\nCMD echo default\n\
                ENTRYPOINT [\"/bin/sh\", \"-c\", \"echo \\\"hi\\\"\"]\nCOPY --chown=1:2 --chmod=755 a b* x/\nADD c .\nWORKDIR /\n";
    golden("configuration", text, &[], None, &Bases::default());
}

#[test]
fn a_bases_triggers_run_first_and_are_gone() {
    let mut base = ImageConfig::empty(&Platform::parse("linux/amd64").unwrap());
    base.config.on_build = vec!["RUN first".to_owned(), "COPY --from=tools /t /t".to_owned()];
    base.config.cmd = vec!["inherited".to_owned()];
    let bases = Bases([("base", base)].into());
    let text = "FROM busybox AS tools\nRUN tool\nFROM base\nRUN second\nENTRYPOINT [\"e\"]\n";
    golden("triggers", text, &[], None, &bases);
}

#[test]
fn flags_of_run_and_copy_are_planned() {
    for (name, text) in [
        (
            "mounts",
            "FROM a AS tools\nFROM a\nARG V=x\nWORKDIR /w\nRUN --mount=target=. --mount=type=cache,target=c/../d,sharing=locked,uid=5 \\\n\
             --mount=type=cache,id=$V,target=/e,from=tools,source=/s --mount=type=tmpfs,target=/t,size=1m \\\n\
             --mount=from=tools,source=/b,target=/b,rw --mount=from=img,target=/i --mount=from=scratch,target=/n x\n",
        ),
        (
            "secrets",
            "FROM a\nRUN --mount=type=secret,id=a --mount=type=secret,id=b,env=B --mount=type=secret,id=c,env=C,target=/c,mode=0440,uid=1 \\\n\
             --mount=type=ssh --mount=type=ssh,id=k,required,target=/s x\n",
        ),
        ("run_script", "FROM a\nSHELL [\"/bin/bash\", \"-c\"]\nRUN <<'E'\n#!/bin/awk -f\nx\nE\n"),
        ("network_none", "FROM a\nRUN --network=none x\n"),
        ("run_heredoc", "FROM a\nRUN <<EOF\nx\nEOF\n"),
        ("copy_heredoc", "FROM a\nCOPY <<f /x\ny\nf\n"),
        ("link", "FROM a\nCOPY --link a /b\n"),
        ("parents", "FROM a\nCOPY --parents a /b\n"),
        ("exclude", "FROM a\nCOPY --exclude=x a /b\n"),
    ] {
        golden(&format!("flags_{name}"), text, &[], None, &Bases::default());
    }
}

#[test]
fn what_is_wrong_or_not_done_yet_is_named_with_its_place() {
    for (name, text) in [
        ("mount_root", "FROM a\nWORKDIR /\nRUN --mount=target=. x\n"),
        ("mount_from_later", "FROM a AS x\nRUN --mount=from=y,target=/y x\nFROM a AS y\nCOPY --from=x a b\n"),
        ("security", "FROM a\nRUN --security=insecure x\n"),
        ("device", "FROM a\nRUN --device=vendor.com/gpu=0,required x\n"),
        ("add_url", "FROM a\nADD https://example.com/x /b\n"),
        ("copy_from_variable", "FROM a AS s\nARG S=s\nFROM a\nCOPY --from=$S a /b\n"),
        ("copy_from_missing_number", "FROM a\nCOPY --from=7 a /b\n"),
        ("copy_from_later_stage", "FROM a AS x\nCOPY --from=y a /b\nFROM a AS y\nCOPY --from=x a /b\n"),
        ("blank_base", "ARG X\nFROM ${X}\n"),
        ("bad_image", "FROM image:with:colons\n"),
        ("bad_signal", "FROM a\nSTOPSIGNAL SIGNOPE\n"),
        ("bad_port", "FROM a\nEXPOSE 80/http\n"),
        ("required_variable", "FROM a\nENV A=${B:?set B}\n"),
        ("bad_platform", "FROM --platform=a/b/c/d x\n"),
    ] {
        golden(&format!("error_{name}"), text, &[], None, &Bases::default());
    }
}

/// Each as BuildKit does it, with buildx's `--build-context`.
#[test]
fn named_contexts_stand_in_place_of_images_and_stages() {
    let directory = || NamedContext::Directory("/ctx".into());
    let image = |name: &str| {
        let reference = Reference::parse(name).unwrap();
        NamedContext::Image(Box::new(ImageSource::Registry(reference)))
    };
    let layout = || {
        let layout = LayoutReference::parse("/layout:1").unwrap();
        NamedContext::Image(Box::new(ImageSource::Layout(layout)))
    };
    let mut base = ImageConfig::empty(&Platform::parse("linux/amd64").unwrap());
    base.config.env = vec!["PATH=/p".to_owned(), "E=1".to_owned()];
    base.config.on_build = vec!["RUN triggered".to_owned()];
    let bases = Bases([("base", base)].into());
    for (name, text, contexts) in [
        (
            "names",
            "ARG V=app\nFROM docker.io/library/$V AS one\nFROM other:1\nCOPY --from=app:latest a b\nCOPY --from=app:2 a b\n\
             COPY --from=one a b\nRUN --mount=from=app,target=/m --mount=from=nothing,target=/n x\n",
            vec![("app", image("base")), ("other:1", layout()), ("nothing", NamedContext::Scratch)],
        ),
        ("from_files", "FROM ctx\nENV A=b\nCOPY a /b\nWORKDIR /w\nLABEL c=d\n", vec![("ctx", directory())]),
        ("from_files_alone", "FROM ctx\nENV A=b\n", vec![("ctx", directory())]),
        (
            "from_files_then_stage",
            "FROM ctx AS One\ncopy a /b\nFROM one\nRUN x\nFROM one\n",
            vec![("ctx", directory())],
        ),
        (
            "stage_replaced_by_image",
            "FROM gone AS Stage\nRUN never\nFROM stage\nRUN x\n",
            vec![("stage", image("base"))],
        ),
        (
            "stage_replaced_by_files",
            "FROM gone AS stage\nRUN never\nFROM scratch\nCOPY --from=0 a /\nCOPY --from=STAGE b /\n",
            vec![("stage", directory())],
        ),
        (
            "a_stage_comes_first",
            "FROM scratch AS x\nCOPY a /\nFROM x AS y\nFROM y\n",
            vec![("y:1", directory())],
        ),
        ("scratch_stays", "FROM scratch\nCOPY --from=scratch a /\n", vec![("scratch", directory())]),
        ("unused", "FROM base2\n", vec![("ctx", directory())]),
    ] {
        golden_with_contexts(&format!("contexts_{name}"), text, &contexts, &bases);
    }
}

#[test]
fn a_tree_is_taken_over_only_when_nobody_reads_it_any_more() {
    let text = "FROM scratch AS a\nCOPY x /\nFROM scratch AS b\nCOPY --from=a /x /\n\
                FROM a AS c\nCOPY y /\nFROM a AS d\nCOPY --from=a /x /z\nFROM c\nCOPY --from=b / /\nCOPY --from=d / /\n";
    let plan = try_plan(text, &[], None, &Bases::default()).unwrap();
    let position = |name: &str| plan.stages.iter().position(|stage| stage.label() == name).unwrap();
    let (a, b, c, d) = (position("a"), position("b"), position("c"), position("d"));
    let finished = |finished: &'static [&str]| {
        let finished: Vec<usize> = finished.iter().map(|name| position(name)).collect();
        move |stage| finished.contains(&stage)
    };
    assert!(plan.is_sole_use(a, c, finished(&["a", "b", "d"])));
    assert!(!plan.is_sole_use(a, c, finished(&["a", "d"])), "b is built beside it");
    assert!(!plan.is_sole_use(a, d, finished(&["a", "b", "c"])), "it reads what it builds on");
    assert!(plan.is_sole_use(c, position("4"), finished(&["a", "b", "c", "d"])));
    assert_eq!(plan.needs(b), [a].into());
}
