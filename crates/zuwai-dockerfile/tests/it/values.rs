//! What instructions hold once parsed and resolved.

use std::collections::BTreeMap;
use std::time::Duration;

use zuwai_dockerfile::ast::{
    CommandLine, Healthcheck, HealthcheckInstruction, RunInstruction, RunScript, TransferSource,
};
use zuwai_dockerfile::expand::NoVariables;
use zuwai_dockerfile::mount::{Mount, MountKind, Sharing};
use zuwai_dockerfile::{Expander, Instruction, InstructionKind, parse, parse_onbuild};

fn instruction(text: &str) -> Instruction {
    let dockerfile = parse("Dockerfile", format!("FROM a\n{text}\n").as_bytes()).unwrap();
    let [instruction] = dockerfile.stages[0].instructions.as_slice() else {
        panic!("one instruction in {text:?}")
    };
    instruction.clone()
}

fn run(text: &str) -> RunInstruction {
    match instruction(text).kind {
        InstructionKind::Run(run) => run,
        other => panic!("RUN, not {other:?}"),
    }
}

fn resolved(text: &str, values: &[(&str, &str)]) -> InstructionKind {
    let values: BTreeMap<String, String> =
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    instruction(text).resolve(&Expander::new('\\'), &values).unwrap().kind
}

#[test]
fn scripts_of_run_are_what_buildkit_gives_to_the_shell() {
    let shell = |text: &str| RunScript::Shell(text.to_owned());
    let table = [
        ("RUN   a   b\t", shell("a   b")),
        ("RUN", shell("")),
        ("RUN -- a", shell("a")),
        ("RUN a \\\n # comment\n b \\\n\n c", shell("a  b  c")),
        ("RUN a \\\n  \\\n b", shell("a    b")),
        ("RUN a \\ \n b", shell("a  b")),
        ("RUN a \\\\", shell("a \\\\")),
        ("RUN a\\\nb\\\n#c\nd", shell("abd")),
        ("\\\nRUN b", shell("b")),
        ("RU\\\nN b", shell("b")),
        ("RUN a\\", shell("a")),
        ("RUN\ta", shell("a")),
        ("RUN ['a']", shell("['a']")),
        ("RUN [\"a\"] x", shell("[\"a\"] x")),
        ("RUN [\"a\tb\"]", shell("[\"a\tb\"]")),
        ("RUN [ \"a\" , \"b\" ]  ", RunScript::Exec(vec!["a".to_owned(), "b".to_owned()])),
        ("RUN [\"a\\u00e9\\ud83d\\ude00\\ud83d\"]", RunScript::Exec(vec!["aé😀\u{fffd}".to_owned()])),
        ("RUN [\"a\", \"<<EOF\"]", RunScript::Exec(vec!["a".to_owned(), "<<EOF".to_owned()])),
        ("RUN <<EOF\necho a\nEOF", shell("echo a\n")),
        ("RUN <<'EOF'\necho $a\nEOF", shell("echo $a\n")),
        ("RUN <<-EOF\n\techo a\n\tEOF", shell("echo a\n")),
        ("RUN --network=none <<EOF\nabc\nEOF", shell("abc\n")),
        ("RUN <<EOF cat\necho a\nEOF", shell("<<EOF cat\necho a\nEOF")),
        (
            "RUN cat <<EOF && cat <<-X\necho a\nEOF\n\tb\n\tX",
            shell("cat <<EOF && cat <<-X\necho a\nEOF\n\tb\nX"),
        ),
        (
            "RUN <<EOF\n#!/bin/foo\na\nEOF",
            RunScript::File { name: "EOF".to_owned(), content: "#!/bin/foo\na\n".to_owned() },
        ),
        ("RUN <<-EOF\n\t#!/bin/foo\n\ta\n\tEOF", shell("#!/bin/foo\na\n")),
        ("RUN echo \"x <<EOF\"", shell("echo \"x <<EOF\"")),
        ("RUN echo it's <<EOF", shell("echo it's <<EOF")),
        ("RUN echo $((1<<2))", shell("echo $((1<<2))")),
        ("RUN cat <<<word", shell("cat <<<word")),
    ];
    for (text, expected) in table {
        assert_eq!(run(text).script(), expected, "{text:?}");
    }
}

#[test]
fn here_documents_of_copy_become_files() {
    let table = [
        ("COPY <<EOF /x\n$v \"$v\" '$v' \\$v \\\\ \\n ${u:-d}\nEOF", "V \"V\" 'V' $v \\ n d\n"),
        ("COPY <<\"EOF\" /x\n$v \"$v\" \\$v\nEOF", "$v \"$v\" \\$v\n"),
        ("COPY <<E'O'F /x\n$v\nEOF", "$v\n"),
        ("COPY <<-EOF /x\n\t\ta\n\t b\n\tEOF", "a\n b\n"),
        ("COPY <<-\"A\" /x\n\thi $v\n\tA", "hi $v\n"),
        ("COPY <<A /x\r\nfoo\r\nA\r", "foo\r\n"),
        ("COPY <<A \\\n # c\n\n /x\n# not a comment \\\nfoo\nA", "# not a comment \nfoo\n"),
        ("COPY <<A /x\nfoo\n A\nA \nA", "foo\n A\nA \n"),
        ("COPY <<A /x\nA", ""),
        ("COPY <<$v /x\nfoo\n$v", "foo\n"),
        ("ADD 3<<A /x\nhi\nA", "hi\n"),
    ];
    for (text, expected) in table {
        let kind = resolved(text, &[("v", "V")]);
        let transfer = match kind {
            InstructionKind::Copy(copy) => copy.transfer,
            InstructionKind::Add(add) => add.transfer,
            other => panic!("COPY or ADD, not {other:?}"),
        };
        let [TransferSource::Heredoc(heredoc)] = transfer.sources.as_slice() else {
            panic!("{text:?}: {transfer:?}")
        };
        assert_eq!(heredoc.text(), expected, "{text:?}");
        assert_eq!(transfer.destination.text, "/x");
    }
}

#[test]
fn of_two_here_documents_with_one_name_the_last_content_counts() {
    let InstructionKind::Copy(copy) = instruction("COPY <<A <<A b /x/\n1\nA\n2\nA").kind else {
        panic!("COPY")
    };
    let contents: Vec<&str> = copy
        .transfer
        .sources
        .iter()
        .map(|source| match source {
            TransferSource::Heredoc(heredoc) => heredoc.content.as_str(),
            TransferSource::Path(word) => word.text.as_str(),
        })
        .collect();
    assert_eq!(contents, ["2\n", "2\n", "b"]);
}

#[test]
fn env_and_label_pairs_are_read_as_buildkit_reads_them() {
    let table: [(&str, &[(&str, &str)]); 11] = [
        ("ENV a b  c", &[("a", "b  c")]),
        ("ENV d   e\t f  ", &[("d", "e\t f")]),
        ("ENV g \"h i\"  j", &[("g", "h i  j")]),
        ("ENV a=b\tc=d \"e f\"=g", &[("a", "b"), ("c", "d"), ("e f", "g")]),
        ("ENV h='i j'k\\ l m=\\\"n", &[("h", "i jk l"), ("m", "\"n")]),
        ("LABEL \"x y\"=\"a\\\n  b\"", &[("x y", "a  b")]),
        ("LABEL a=\"b\\\nc\" d=e\\\n f=g", &[("a", "bc"), ("d", "e"), ("f", "g")]),
        ("LABEL \"\"=b", &[("", "b")]),
        ("ENV a=$v b=${v}x c='$v'", &[("a", "V"), ("b", "Vx"), ("c", "$v")]),
        ("LABEL $v=$v", &[("V", "V")]),
        ("ENV a=b=c", &[("a", "b=c")]),
    ];
    for (text, expected) in table {
        let (InstructionKind::Env(pairs) | InstructionKind::Label(pairs)) = resolved(text, &[("v", "V")])
        else {
            panic!("{text:?}")
        };
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|pair| (pair.key.text.as_str(), pair.value.text.as_str())).collect();
        assert_eq!(pairs, expected, "{text:?}");
    }
}

#[test]
fn only_where_buildkit_expands_is_anything_expanded() {
    let values = [("v", "1 2")];
    let texts = |kind: InstructionKind| match kind {
        InstructionKind::Expose(words) | InstructionKind::Volume(words) | InstructionKind::Shell(words) => {
            words.into_iter().map(|word| word.text).collect::<Vec<_>>()
        }
        InstructionKind::User(word)
        | InstructionKind::Workdir(word)
        | InstructionKind::Stopsignal(word)
        | InstructionKind::Maintainer(word)
        | InstructionKind::Cmd(CommandLine::Shell(word)) => vec![word.text],
        InstructionKind::Cmd(CommandLine::Exec(words))
        | InstructionKind::Entrypoint(CommandLine::Exec(words)) => {
            words.into_iter().map(|word| word.text).collect()
        }
        InstructionKind::Arg(arg) => arg
            .args
            .into_iter()
            .map(|one| format!("{}={}", one.key.text, one.default.unwrap().text))
            .collect(),
        InstructionKind::Onbuild(onbuild) => vec![onbuild.trigger],
        other => panic!("{other:?}"),
    };
    let table: [(&str, &[&str]); 14] = [
        ("EXPOSE $v 3", &["1", "2", "3"]),
        ("EXPOSE 80/tcp 80 9 80-81 $v", &["1", "2", "80", "80-81", "80/tcp", "9"]),
        ("EXPOSE $unset", &[]),
        ("VOLUME $v", &["1 2"]),
        ("VOLUME [\"$v\"]", &["1 2"]),
        ("USER $v", &["1 2"]),
        ("WORKDIR \"/$v\"/'$v'", &["/1 2/$v"]),
        ("STOPSIGNAL $v", &["1 2"]),
        ("ARG a=$v b=\"$v\"", &["a=$v", "b=\"$v\""]),
        ("MAINTAINER $v", &["$v"]),
        ("CMD $v", &["$v"]),
        ("ENTRYPOINT [\"$v\"]", &["$v"]),
        ("SHELL [\"$v\"]", &["$v"]),
        ("ONBUILD RUN $v", &["RUN $v"]),
    ];
    for (text, expected) in table {
        assert_eq!(texts(resolved(text, &values)), expected, "{text:?}");
    }
}

#[test]
fn flags_of_copy_expand_but_from_and_exclude() {
    let text = "COPY --from=base --chown=$v:g --chmod=${m:-644} --exclude=*.$v --link $v /d/$v";
    let InstructionKind::Copy(copy) = resolved(text, &[("v", "u")]) else { panic!("COPY") };
    let text = |word: &Option<zuwai_dockerfile::Word>| word.as_ref().map(|word| word.text.clone());
    assert_eq!(text(&copy.from).as_deref(), Some("base"));
    assert_eq!(text(&copy.transfer.chown).as_deref(), Some("u:g"));
    assert_eq!(text(&copy.transfer.chmod).as_deref(), Some("644"));
    // BuildKit replaces none in patterns.
    assert_eq!(copy.transfer.exclude[0].text, "*.$v");
    assert_eq!(copy.transfer.destination.text, "/d/u");
    assert!(copy.transfer.link && !copy.parents);
}

#[test]
fn an_expansion_that_fails_names_the_word() {
    let error =
        instruction("LABEL a=1 b=${v:?no-value}").resolve(&Expander::new('\\'), &NoVariables).unwrap_err();
    assert_eq!(error.message, "failed to process \"${v:?no-value}\": v: no-value");
    assert_eq!(error.span.range(), 19..33);
}

#[test]
fn mounts_become_typed_values() {
    let mount = |flag: &str| {
        let values: BTreeMap<String, String> = [("v".to_owned(), "w".to_owned())].into();
        let run = run(&format!("RUN --mount={flag} x"));
        let Mount { target, kind, .. } = run.mounts[0].resolve(&Expander::new('\\'), &values).unwrap();
        (target, kind)
    };
    let bind = |from: Option<&str>, source: &str, read_only| MountKind::Bind {
        from: from.map(str::to_owned),
        source: source.to_owned(),
        read_only,
    };
    let cache = MountKind::Cache {
        id: None,
        from: None,
        source: String::new(),
        read_only: false,
        sharing: Sharing::Shared,
        mode: None,
        uid: None,
        gid: None,
    };
    let secret = |id: &str, env: Option<&str>, required, mode| MountKind::Secret {
        id: id.to_owned(),
        env: env.map(str::to_owned),
        required,
        mode,
        uid: None,
        gid: None,
    };
    let table = [
        ("target=/x", "/x", bind(None, "", true)),
        ("type=bind", "", bind(None, "", true)),
        ("TYPE=BIND,dst=/x,rw", "/x", bind(None, "", false)),
        ("target=/x,readwrite=false", "/x", bind(None, "", true)),
        ("target=/x,ro=0", "/x", bind(None, "", false)),
        ("from=build,src=/out,destination=$v", "w", bind(Some("build"), "/out", true)),
        ("target=/x,from=", "/x", bind(None, "", true)),
        ("type=cache,target=/c", "/c", cache.clone()),
        (
            "type=cache,id=$v,target=/c,sharing=LOCKED,mode=0700,uid=10,gid=20,ro,from=a,source=/s",
            "/c",
            MountKind::Cache {
                id: Some("w".to_owned()),
                from: Some("a".to_owned()),
                source: "/s".to_owned(),
                read_only: true,
                sharing: Sharing::Locked,
                mode: Some(0o700),
                uid: Some(10),
                gid: Some(20),
            },
        ),
        ("type=tmpfs,target=/t", "/t", MountKind::Tmpfs { size: 0 }),
        ("type=tmpfs,target=/t,size=1.5m", "/t", MountKind::Tmpfs { size: 3 << 19 }),
        ("type=tmpfs,target=/t,size=2GiB", "/t", MountKind::Tmpfs { size: 2 << 30 }),
        ("type=secret,id=s", "", secret("s", None, false, None)),
        ("type=secret,src=s,env=TOKEN,required", "", secret("s", Some("TOKEN"), true, None)),
        (
            "type=secret,target=/run/key,mode=440,required=false",
            "/run/key",
            secret("key", None, false, Some(0o440)),
        ),
        (
            "type=ssh,id=k,required,target=/a,uid=1",
            "/a",
            MountKind::Ssh { id: Some("k".to_owned()), required: true, mode: None, uid: Some(1), gid: None },
        ),
        ("\"type=cache\",\"target=/c\"", "/c", cache),
    ];
    for (flag, target, kind) in table {
        assert_eq!(mount(flag), (target.to_owned(), kind), "{flag:?}");
    }
}

#[test]
fn a_mount_with_a_bad_value_from_a_variable_fails_when_resolved() {
    let values: BTreeMap<String, String> = [("mode".to_owned(), "rwx".to_owned())].into();
    let run = run("RUN --mount=type=cache,target=/x,mode=$mode x");
    let error = run.mounts[0].resolve(&Expander::new('\\'), &values).unwrap_err();
    assert_eq!(error.message, "invalid value rwx for mode");
}

#[test]
fn devices_are_named_and_perhaps_required() {
    for (flag, name, required) in [
        ("vendor.com/gpu=0", "vendor.com/gpu=0", false),
        ("name=vendor.com/gpu=all,required", "vendor.com/gpu=all", true),
        ("vendor.com/gpu,required=false", "vendor.com/gpu", false),
    ] {
        let run = run(&format!("RUN --device={flag} x"));
        assert_eq!((run.devices[0].name.as_str(), run.devices[0].required), (name, required), "{flag:?}");
    }
}

#[test]
fn healthchecks_have_all_five_options() {
    let text = "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=100ms --start-interval=2h --retries=3 CMD a b";
    let InstructionKind::Healthcheck(HealthcheckInstruction::Command(check)) = instruction(text).kind else {
        panic!("HEALTHCHECK")
    };
    let Healthcheck { command, interval, timeout, start_period, start_interval, retries } = check;
    assert!(matches!(command, CommandLine::Shell(word) if word.text == "a b"));
    assert_eq!(interval, Duration::from_secs(90));
    assert_eq!(timeout, Duration::from_millis(1500));
    assert_eq!(start_period, Duration::from_millis(100));
    assert_eq!(start_interval, Duration::from_secs(7200));
    assert_eq!(retries, 3);
    for text in ["HEALTHCHECK NONE", "HEALTHCHECK --foo=1 none"] {
        assert!(matches!(instruction(text).kind, InstructionKind::Healthcheck(HealthcheckInstruction::None)));
    }
}

#[test]
fn triggers_are_kept_as_buildkit_keeps_them() {
    for (text, trigger) in [
        ("ONBUILD  RUN   a \\\n  b", "RUN   a   b"),
        ("onbuild run <<EOF\na\nEOF", "run <<EOF\na\nEOF"),
        ("ONBUILD COPY <<-A <<B /x/\n\t1\n\tA\n2\nB", "COPY <<-A <<B /x/\n\t1\nA\n2\nB"),
        ("ONBUILD CMD []", "CMD []"),
    ] {
        let InstructionKind::Onbuild(onbuild) = instruction(text).kind else { panic!("ONBUILD") };
        assert_eq!(onbuild.trigger, trigger, "{text:?}");
        let parsed = parse_onbuild("trigger", &onbuild.trigger).unwrap();
        assert_eq!(parsed.kind.keyword(), onbuild.instruction.kind.keyword());
    }
}

#[test]
fn directives_stand_first_and_without_case() {
    for (text, escape) in [
        ("# escape=`\nFROM a\n", '`'),
        ("#escape=`\nFROM a\n", '`'),
        ("# Escape = ` \nFROM a\n", '`'),
        ("  # escape=`\nFROM a\n", '`'),
        ("\u{feff}# escape=`\r\nFROM a\r\n", '`'),
        ("# syntax=docker/dockerfile:1\n# escape=`\nFROM a\n", '`'),
        ("# foo=x\n# escape=`\nFROM a\n", '\\'),
        ("\n# escape=`\nFROM a\n", '\\'),
        ("# a comment\n# escape=`\nFROM a\n", '\\'),
        ("FROM a\n# escape=`\n", '\\'),
    ] {
        assert_eq!(parse("Dockerfile", text.as_bytes()).unwrap().directives.escape, escape, "{text:?}");
    }
    let text =
        b"# syntax = docker/dockerfile:1.7-labs \n# check=skip=A,B;error=true;experimental=C\nFROM a\n";
    let directives = parse("Dockerfile", text).unwrap().directives;
    assert_eq!(directives.syntax.unwrap().text, "docker/dockerfile:1.7-labs");
    assert_eq!(directives.check.skip, ["A", "B"]);
    assert!(directives.check.error && !directives.check.skip_all);
    assert_eq!(directives.check.experimental, ["C"]);
}

#[test]
fn forward_references_are_told_apart_from_images() {
    let text = b"FROM a AS one\nCOPY --from=two x /\nRUN --mount=from=two,target=/x y\nFROM b AS two\nCOPY --from=img x /\n";
    let dockerfile = parse("Dockerfile", text).unwrap();
    let from = |stage: usize, index: usize| match &dockerfile.stages[stage].instructions[index].kind {
        InstructionKind::Copy(copy) => copy.from.clone().unwrap(),
        InstructionKind::Run(run) => run.mounts[0].from().unwrap().clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        dockerfile.copy_source(&from(0, 0), 0).unwrap_err().message,
        "cannot copy from stage \"two\", it needs to be defined before current stage \"one\""
    );
    assert_eq!(
        dockerfile.mount_source(&from(0, 1), 0).unwrap_err().message,
        "cannot mount from stage \"two\", stage needs to be defined before current command"
    );
    assert_eq!(dockerfile.copy_source(&from(1, 0), 1), Ok(None));
    assert_eq!(dockerfile.copy_source(&from(0, 0), 2).unwrap().map(|stage| stage.index), Some(1));
}
