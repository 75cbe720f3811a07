//! Mistakes in Dockerfiles: the words are a real BuildKit's, the places are ours.

use zuwai_dockerfile::{parse, parse_onbuild};

/// A Dockerfile, where the mistake is, and what is said about it.
type Case = (&'static str, (usize, usize), &'static str);

fn check(cases: &[Case]) {
    for (text, (line, column), expected) in cases {
        let error = parse("Dockerfile", text.as_bytes()).expect_err(text);
        let first = &error.list[0];
        let place = error.source.start(first.span);
        let message = first
            .message
            .strip_prefix(&format!("dockerfile parse error on line {line}: "))
            .unwrap_or(&first.message);
        assert_eq!((message, (place.line, place.column)), (*expected, (*line, *column)), "{text:?}");
        assert!(error.to_string().starts_with(&format!("Dockerfile:{line}:{column}: ")), "{error}");
    }
}

#[test]
fn whole_files() {
    check(&[
        ("", (1, 1), "the Dockerfile cannot be empty"),
        ("# only\n", (1, 1), "file with no instructions"),
        ("\n\n", (1, 1), "file with no instructions"),
        ("ARG x\n", (1, 1), "dockerfile contains no stages to build"),
        ("LABEL a=b\n", (1, 1), "no build stage in current context"),
        ("ARG a\nRUN x\nFROM y\n", (2, 1), "no build stage in current context"),
        ("FRM a\n", (1, 1), "unknown instruction: FRM (did you mean FROM?)"),
        ("FROM a\napt-get x\n", (2, 1), "unknown instruction: apt-get"),
        ("FROM a\nfoo\n", (2, 1), "unknown instruction: foo (did you mean from?)"),
        ("FROM a\nhealtcheck\n", (2, 1), "unknown instruction: healtcheck (did you mean healthcheck?)"),
        ("FROM a\nRUN a \\\\\\\nb\n", (3, 1), "unknown instruction: b"),
        ("FROM a\n\u{feff}RUN x\n", (2, 1), "unknown instruction: \u{feff}RUN (did you mean RUN?)"),
    ]);
}

#[test]
fn directives() {
    check(&[
        ("# escape=`\n# escape=`\nFROM a\n", (2, 1), "only one escape parser directive can be used"),
        ("#syntax=a\n# SYNTAX=b\nFROM a\n", (2, 1), "only one syntax parser directive can be used"),
        ("# escape=x\nFROM a\n", (1, 10), "invalid escape token 'x' does not match ` or \\"),
        ("# check=foo=x\nFROM a\n", (1, 9), "failed to parse check options: invalid check option \"foo\""),
        ("# check=skip\nFROM a\n", (1, 9), "failed to parse check options: invalid check option \"skip\""),
        (
            "# check=error=x\nFROM a\n",
            (1, 9),
            "failed to parse check options: failed to parse check option \"error=x\": strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        ("# check=skip=all;\nFROM a\n", (1, 9), "failed to parse check options: invalid check option \"\""),
    ]);
}

#[test]
fn from() {
    check(&[
        ("FROM\n", (1, 1), "FROM requires either one or three arguments"),
        ("FROM a b\n", (1, 6), "FROM requires either one or three arguments"),
        ("FROM a as\n", (1, 6), "FROM requires either one or three arguments"),
        ("FROM a AS b AS c\n", (1, 6), "FROM requires either one or three arguments"),
        (
            "FROM a AS 1x\n",
            (1, 11),
            "invalid name for build stage: \"1x\", name can't start with a number or contain symbols",
        ),
        (
            "FROM a AS b/c\n",
            (1, 11),
            "invalid name for build stage: \"b/c\", name can't start with a number or contain symbols",
        ),
        ("FROM --foo=x a\n", (1, 6), "unknown flag: --foo"),
        ("FROM --plarform=x a\n", (1, 6), "unknown flag: --plarform (did you mean platform?)"),
        ("FROM --platform a\n", (1, 6), "missing a value on flag: --platform"),
    ]);
}

#[test]
fn simple_instructions() {
    check(&[
        ("FROM a\nRUN []\n", (2, 5), "arguments are required"),
        (
            "FROM a\nCMD [\"a\", 1]\n",
            (2, 5),
            "when using JSON array syntax, arrays must be comprised of strings only",
        ),
        ("FROM a\nCMD --x y\n", (2, 5), "unknown flag: --x"),
        ("FROM a\nSHELL a\n", (2, 7), "SHELL requires the arguments to be in JSON form"),
        ("FROM a\nSHELL []\n", (2, 7), "SHELL requires at least one argument"),
        ("FROM a\nSHELL\n", (2, 1), "SHELL requires at least one argument"),
        ("FROM a\nVOLUME\n", (2, 1), "VOLUME requires at least one argument"),
        ("FROM a\nVOLUME [\"\"]\n", (2, 9), "VOLUME specified can not be an empty string"),
        ("FROM a\nEXPOSE\n", (2, 1), "EXPOSE requires at least one argument"),
        ("FROM a\nUSER\n", (2, 1), "USER requires exactly one argument"),
        ("FROM a\nWORKDIR\n", (2, 1), "WORKDIR requires exactly one argument"),
        ("FROM a\nSTOPSIGNAL\n", (2, 1), "STOPSIGNAL requires exactly one argument"),
        ("FROM a\nMAINTAINER\n", (2, 1), "MAINTAINER requires exactly one argument"),
        ("FROM a\nUSER --x a\n", (2, 6), "unknown flag: --x"),
        ("FROM a\nENV\n", (2, 1), "ENV requires at least one argument"),
        ("FROM a\nENV a\n", (2, 5), "ENV must have two arguments"),
        ("FROM a\nLABEL a\n", (2, 7), "LABEL must have two arguments"),
        (
            "FROM a\nENV a=b c\n",
            (2, 9),
            "Syntax error - can't find = in \"c\". Must be of the form: name=value",
        ),
        ("FROM a\nENV =b\n", (2, 5), "ENV names can not be blank"),
        ("FROM a\nLABEL a=b =b\n", (2, 11), "LABEL names can not be blank"),
        ("FROM a\nARG =x\n", (2, 5), "ARG names can not be blank"),
        ("FROM a\nARG\n", (2, 1), "ARG requires at least one argument"),
    ]);
}

#[test]
fn healthchecks() {
    check(&[
        ("FROM a\nHEALTHCHECK\n", (2, 1), "HEALTHCHECK requires at least one argument"),
        ("FROM a\nHEALTHCHECK NONE x\n", (2, 18), "HEALTHCHECK NONE takes no arguments"),
        ("FROM a\nHEALTHCHECK foo x\n", (2, 13), "Unknown type \"FOO\" in HEALTHCHECK (try CMD)"),
        ("FROM a\nHEALTHCHECK CMD\n", (2, 13), "Missing command after HEALTHCHECK CMD"),
        ("FROM a\nHEALTHCHECK CMD []\n", (2, 13), "Missing command after HEALTHCHECK CMD"),
        ("FROM a\nHEALTHCHECK --interval=x CMD a\n", (2, 24), "time: invalid duration \"x\""),
        ("FROM a\nHEALTHCHECK --interval=5 CMD a\n", (2, 24), "time: missing unit in duration \"5\""),
        ("FROM a\nHEALTHCHECK --timeout=5x CMD a\n", (2, 23), "time: unknown unit \"x\" in duration \"5x\""),
        (
            "FROM a\nHEALTHCHECK --interval=1us CMD a\n",
            (2, 24),
            "Interval \"interval\" cannot be less than 1ms",
        ),
        (
            "FROM a\nHEALTHCHECK --interval=-1s CMD a\n",
            (2, 24),
            "Interval \"interval\" cannot be less than 1ms",
        ),
        ("FROM a\nHEALTHCHECK --retries=-1 CMD a\n", (2, 23), "--retries cannot be negative (-1)"),
        (
            "FROM a\nHEALTHCHECK --retries=x CMD a\n",
            (2, 23),
            "strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
    ]);
}

#[test]
fn copies() {
    let two =
        "requires at least two arguments, but only one was provided. Destination could not be determined";
    for keyword in ["COPY", "ADD"] {
        let error = parse("Dockerfile", format!("FROM a\n{keyword} x\n").as_bytes()).unwrap_err();
        assert!(error.list[0].message.ends_with(&format!("{keyword} {two}")), "{error}");
    }
    check(&[
        (
            "FROM a\nCOPY --from=$x a b\n",
            (2, 13),
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
        ),
        ("FROM a\nCOPY --link=x a b\n", (2, 6), "expecting boolean value for flag --link, not: x"),
        ("FROM a\nCOPY --link= a b\n", (2, 6), "missing a value on flag: --link"),
        ("FROM a\nCOPY --chown a b\n", (2, 6), "missing a value on flag: --chown"),
        ("FROM a\nCOPY --frm=x a b\n", (2, 6), "unknown flag: --frm (did you mean from?)"),
        ("FROM a\nCOPY --chown=1 --chown=2 a b\n", (2, 16), "duplicate flag specified: --chown"),
        ("FROM a\nCOPY --unpack a b\n", (2, 6), "unknown flag: --unpack"),
        ("FROM a\nADD --from=b a b\n", (2, 5), "unknown flag: --from"),
        ("FROM a\nCOPY a <<EOF\nEOF\n", (2, 8), "COPY cannot accept a heredoc as a destination"),
        ("FROM a\nCOPY <<EOF a\nx\n", (2, 6), "unterminated heredoc"),
        ("FROM a\nRUN <<A cat <<B\nx\nA\ny\n", (2, 13), "unterminated heredoc"),
        ("FROM a AS x\nCOPY --from=X a b\n", (2, 13), "circular dependency detected on stage: x"),
        ("FROM a\nCOPY --from=0 a b\n", (2, 13), "circular dependency detected on stage: stage-0"),
        ("FROM a\nCOPY --from=5 a b\n", (2, 13), "invalid stage index 5"),
        ("FROM a\nCOPY --from=-1 a b\n", (2, 13), "invalid stage index -1"),
    ]);
}

#[test]
fn triggers_of_onbuild() {
    check(&[
        ("FROM a\nONBUILD\n", (2, 1), "ONBUILD requires at least one argument"),
        ("FROM a\nONBUILD ONBUILD RUN a\n", (2, 9), "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("FROM a\nONBUILD from b\n", (2, 9), "FROM isn't allowed as an ONBUILD trigger"),
        ("FROM a\nONBUILD MAINTAINER a\n", (2, 9), "MAINTAINER isn't allowed as an ONBUILD trigger"),
        ("FROM a\nONBUILD --x RUN a\n", (2, 9), "unknown flag: --x"),
        ("FROM a\nONBUILD RNU a\n", (2, 9), "unknown instruction: RNU (did you mean RUN?)"),
    ]);
    for (trigger, expected) in [
        ("", "onbuild trigger should be a single expression"),
        ("RUN a\nRUN b", "onbuild trigger should be a single expression"),
        ("FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD RUN a", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("MAINTAINER a", "MAINTAINER isn't allowed as an ONBUILD trigger"),
    ] {
        let error = parse_onbuild("trigger of base", trigger).expect_err(trigger);
        assert!(error.list[0].message.ends_with(expected), "{trigger:?}: {error}");
    }
}

#[test]
fn mounts_and_run_flags() {
    check(&[
        ("FROM a\nRUN --mount= x\n", (2, 13), "failed to parse csv mounts: EOF"),
        ("FROM a\nRUN --mount=type=foo x\n", (2, 18), "unsupported mount type \"foo\""),
        ("FROM a\nRUN --mount=type=bnd x\n", (2, 18), "unsupported mount type \"bnd\" (did you mean bind?)"),
        ("FROM a\nRUN --mount=target x\n", (2, 13), "invalid field 'target' must be a key=value pair"),
        ("FROM a\nRUN --mount=target=/x, x\n", (2, 23), "invalid field '' must be a key=value pair"),
        ("FROM a\nRUN --mount=foo=x x\n", (2, 13), "unexpected key 'foo' in 'foo=x' (did you mean from?)"),
        (
            "FROM a\nRUN --mount=targt=/x x\n",
            (2, 13),
            "unexpected key 'targt' in 'targt=/x' (did you mean target?)",
        ),
        ("FROM a\nRUN --mount=type=tmpfs,target=/x,size=1x x\n", (2, 39), "invalid value for size: 1x"),
        ("FROM a\nRUN --mount=size=1,target=/x x\n", (2, 13), "unexpected key 'size' for mount type 'bind'"),
        (
            "FROM a\nRUN --mount=required,target=/x x\n",
            (2, 13),
            "unexpected key 'required' for mount type 'bind'",
        ),
        (
            "FROM a\nRUN --mount=type=secret x\n",
            (2, 5),
            "invalid secret mount. one of source, target required",
        ),
        ("FROM a\nRUN --mount=type=secret,source=a,id=b x\n", (2, 5), "both source and id can't be set"),
        ("FROM a\nRUN --mount=type=secret,from=x,id=a x\n", (2, 5), "secret mount should not have a from"),
        (
            "FROM a\nRUN --mount=type=cache,target=/x,sharing=foo x\n",
            (2, 42),
            "unsupported sharing value \"foo\"",
        ),
        (
            "FROM a\nRUN --mount=target=/x,sharing=shared x\n",
            (2, 5),
            "invalid cache sharing set for bind mount",
        ),
        ("FROM a\nRUN --mount=target=/x,mode=0755 x\n", (2, 5), "mode not allowed for \"bind\" type mounts"),
        ("FROM a\nRUN --mount=type=cache,target=/x,mode=9 x\n", (2, 39), "invalid value 9 for mode"),
        ("FROM a\nRUN --mount=type=cache,target=/x,uid=-1 x\n", (2, 38), "invalid value -1 for uid"),
        ("FROM a\nRUN --mount=target=/x,ro=x x\n", (2, 26), "invalid value for ro: x"),
        ("FROM a\nRUN --mount=type=cache,target=/ x\n", (2, 5), "invalid mount target \"/\""),
        (
            "FROM a\nRUN --mount=from=$a,target=/x x\n",
            (2, 18),
            "'from' doesn't support variable expansion, define alias stage instead",
        ),
        (
            "FROM a AS b\nRUN --mount=from=b,target=/x x\n",
            (2, 18),
            "circular dependency detected on stage: b",
        ),
        ("FROM a\nRUN --network=foo x\n", (2, 15), "invalid network mode \"foo\""),
        ("FROM a\nRUN --network= x\n", (2, 15), "invalid network mode \"\""),
        ("FROM a\nRUN --network=NONE x\n", (2, 15), "invalid network mode \"NONE\""),
        ("FROM a\nRUN --network=none --network=host x\n", (2, 20), "duplicate flag specified: --network"),
        ("FROM a\nRUN --netwrk=none x\n", (2, 5), "unknown flag: --netwrk (did you mean network?)"),
    ]);
}

#[test]
fn a_mistake_shows_its_line_with_carets_and_what_to_do() {
    let error = parse("deploy/Dockerfile", b"FROM a\nRUN echo \\\n  hi\nCOPY --frm=b c d\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "deploy/Dockerfile:4:6: dockerfile parse error on line 4: unknown flag: --frm (did you mean from?)\n  \
         |\n4 | COPY --frm=b c d\n  |      ^^^^^^^\n  = help: this instruction takes --chmod, --chown, --exclude, --from, --link, --parents"
    );
}

#[test]
fn a_place_in_a_continuation_is_on_its_own_line() {
    let error = parse("Dockerfile", b"FROM a\nENV a=b \\\n  # why\n    c\n").unwrap_err();
    assert_eq!(error.source.start(error.list[0].span), zuwai_dockerfile::Position { line: 4, column: 5 });
}

#[test]
fn all_mistakes_are_reported_at_once_up_to_a_limit() {
    let error = parse("Dockerfile", b"FROM a\nFOO\nCOPY x\nRUN ok\nENV\n").unwrap_err();
    let lines: Vec<usize> = error.list.iter().map(|one| error.source.start(one.span).line).collect();
    assert_eq!(lines, [2, 3, 5]);
    let many = parse("Dockerfile", "FOO\n".repeat(1000).as_bytes()).unwrap_err();
    assert_eq!(many.list.len(), zuwai_dockerfile::limits::ERRORS);
}

#[test]
fn long_lines_are_shown_around_the_place() {
    let text = format!("FROM a\nENV {} =x\n", "k=v ".repeat(500));
    let error = parse("Dockerfile", text.as_bytes()).unwrap_err();
    assert!(error.to_string().lines().all(|line| line.chars().count() < 200), "{error}");
    assert!(error.to_string().contains("ENV names can not be blank"));
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let error = parse("Dockerfile", b"FROM a\n\x1b[31mRED x\n").unwrap_err();
    assert!(
        !error.list[0]
            .render(&error.source)
            .lines()
            .any(|line| line.starts_with("2 |") && line.contains('\x1b'))
    );
}

#[test]
fn what_is_not_utf8_is_an_error_but_in_comments() {
    assert!(parse("Dockerfile", b"# caf\xe9\nFROM a\n  # caf\xe9\n").is_ok());
    let error = parse("Dockerfile", b"FROM a\nRUN caf\xe9\n").unwrap_err();
    assert_eq!(error.list[0].message, "dockerfile parse error on line 2: invalid UTF-8");
    assert!(
        parse("Dockerfile", b"FROM a\nCOPY <<E /x\n# caf\xe9\nE\n").is_err(),
        "a here-document is no comment"
    );
}

#[test]
fn sizes_are_bounded() {
    let long = format!("FROM a\nRUN {}\n", "x".repeat(70_000));
    let error = parse("Dockerfile", long.as_bytes()).unwrap_err();
    assert!(
        error.list[0].message.ends_with("dockerfile line greater than maximum allowed size of 65535"),
        "{error}"
    );
    let huge = vec![b'#'; (16 << 20) + 1];
    assert!(parse("Dockerfile", &huge).unwrap_err().list[0].message.contains("maximum allowed size"));
    let joined = format!("FROM a\nRUN {}x\n", format!("{}\\\n", "y".repeat(60_000)).repeat(100));
    assert!(
        parse("Dockerfile", joined.as_bytes()).unwrap_err().list[0].message.contains("maximum allowed size")
    );
}

#[test]
fn hostile_files_take_linear_time() {
    for text in [
        format!("FROM a\n{}", "ONBUILD ".repeat(8_000)),
        format!("FROM a\nRUN {}", "<<A ".repeat(16_000)),
        format!("FROM a\nCMD [{}", "[".repeat(60_000)),
        format!("FROM a\nENV {}", "a=\"b ".repeat(12_000)),
        format!("FROM a\n{}", "\\\n".repeat(1_000_000)),
        format!("FROM a\n{}", "FROM a AS b\n".repeat(9_000)),
        format!("FROM a\nLABEL a={}", "${a:-".repeat(10_000)),
        format!("FROM a\nCOPY {} /x\n{}", "<<A ".repeat(10_000), "A\n".repeat(10_000)),
        "COPY --from=b a b\n".repeat(500_000),
    ] {
        let start = std::time::Instant::now();
        let _ = parse("Dockerfile", text.as_bytes());
        assert!(start.elapsed().as_secs() < 10, "{} bytes of {:?}", text.len(), &text[..40]);
    }
}
