//! What holds for any input.

use std::collections::BTreeMap;

use proptest::prelude::*;
use zuwai_dockerfile::ast::{CommandLine, TransferSource};
use zuwai_dockerfile::{
    Dockerfile, Expander, Instruction, InstructionKind, Span, Word, parse, parse_onbuild,
};

/// Pieces that make the grammar's corners likely.
fn dockerfile_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "FROM a\n",
            "FROM a AS b\n",
            "RUN ",
            "COPY ",
            "ADD ",
            "ENV ",
            "ARG ",
            "LABEL ",
            "ONBUILD ",
            "HEALTHCHECK ",
            "CMD ",
            "SHELL ",
            "VOLUME ",
            "EXPOSE ",
            "USER ",
            "WORKDIR ",
            "<<EOF",
            "<<-'E F'",
            "<<\"X\" ",
            "EOF\n",
            "--mount=type=cache,target=/x ",
            "--from=",
            "--chown=a:b ",
            "--link ",
            "--exclude=* ",
            "\\\n",
            "`\n",
            "\n",
            "\r\n",
            " ",
            "\t",
            "# escape=`\n",
            "# comment\n",
            "\u{feff}",
            "[\"a\", \"b\"]",
            "[",
            "]",
            "\"",
            "'",
            "$",
            "${",
            "}",
            "${a:-",
            "%",
            "#",
            "/",
            "*",
            "=",
            "a=b ",
            "\\",
            "--",
            "é",
            "\\u00e9",
            "NONE",
            "--interval=5s ",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,6}",
        ".{0,3}",
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn words(instruction: &Instruction) -> Vec<Word> {
    fn command(line: &CommandLine) -> Vec<Word> {
        match line {
            CommandLine::Shell(word) => vec![word.clone()],
            CommandLine::Exec(words) => words.clone(),
        }
    }
    match &instruction.kind {
        InstructionKind::Cmd(line) | InstructionKind::Entrypoint(line) => command(line),
        InstructionKind::Run(run) => {
            let mut words = command(&run.command);
            let fields = run.mounts.iter().flat_map(|mount| &mount.fields);
            words.extend(fields.flat_map(|field| std::iter::once(&field.key).chain(&field.value)).cloned());
            words
        }
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
            pairs.iter().flat_map(|pair| [pair.key.clone(), pair.value.clone()]).collect()
        }
        InstructionKind::Expose(words) | InstructionKind::Shell(words) | InstructionKind::Volume(words) => {
            words.clone()
        }
        InstructionKind::Copy(copy) => transfer(&copy.transfer),
        InstructionKind::Add(add) => transfer(&add.transfer),
        InstructionKind::Onbuild(onbuild) => words(&onbuild.instruction),
        InstructionKind::Arg(arg) => arg.args.iter().map(|one| one.key.clone()).collect(),
        InstructionKind::Maintainer(word)
        | InstructionKind::Stopsignal(word)
        | InstructionKind::User(word)
        | InstructionKind::Workdir(word) => vec![word.clone()],
        InstructionKind::Healthcheck(_) => Vec::new(),
    }
}

fn transfer(transfer: &zuwai_dockerfile::ast::Transfer) -> Vec<Word> {
    let mut words = vec![transfer.destination.clone()];
    for source in &transfer.sources {
        words.push(match source {
            TransferSource::Path(word) => word.clone(),
            TransferSource::Heredoc(heredoc) => Word { text: heredoc.name.clone(), span: heredoc.span },
        });
    }
    words
}

fn check_spans(dockerfile: &Dockerfile) {
    let inside = |span: Span, outer: Span| {
        assert!(
            span.start <= span.end && outer.start <= span.start && span.end <= outer.end,
            "{span:?} in {outer:?}"
        );
        let text = dockerfile.source.text();
        assert!(text.is_char_boundary(span.start as usize) && text.is_char_boundary(span.end as usize));
    };
    let all = Span::new(0, dockerfile.source.text().len());
    for stage in &dockerfile.stages {
        inside(stage.from.span, all);
        inside(stage.from.image.span, stage.from.span);
        for instruction in &stage.instructions {
            inside(instruction.span, all);
            inside(instruction.keyword_span, instruction.span);
            for word in words(instruction) {
                inside(word.span, instruction.span);
            }
        }
    }
    for warning in &dockerfile.warnings {
        inside(warning.span, all);
        warning.render(&dockerfile.source);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_parse_or_fail_with_a_message(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        match parse("Dockerfile", &bytes) {
            Ok(dockerfile) => check_spans(&dockerfile),
            Err(error) => prop_assert!(error.to_string().starts_with("Dockerfile:")),
        }
    }

    #[test]
    fn any_dockerfile_parses_with_its_spans_inside(text in dockerfile_like()) {
        let text = format!("FROM base\n{text}");
        match parse("Dockerfile", text.as_bytes()) {
            Ok(dockerfile) => {
                check_spans(&dockerfile);
                let expander = Expander::new(dockerfile.directives.escape);
                let values: BTreeMap<String, String> = [("a".to_owned(), "1 2".to_owned())].into();
                for instruction in dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
                    let _ = instruction.resolve(&expander, &values).map_err(|error| error.render(&dockerfile.source));
                    if let InstructionKind::Run(run) = &instruction.kind {
                        run.script();
                        for mount in &run.mounts {
                            let _ = mount.resolve(&expander, &values);
                        }
                    }
                }
            }
            Err(error) => prop_assert!(error.to_string().contains("parse error on line") || !error.list.is_empty()),
        }
    }

    #[test]
    fn any_trigger_parses_or_fails(text in dockerfile_like()) {
        let _ = parse_onbuild("trigger", &text).map_err(|error| error.to_string());
    }

    #[test]
    fn any_word_expands_or_fails(text in dockerfile_like(), escape in prop::sample::select(vec!['\\', '`'])) {
        let values: BTreeMap<String, String> = [("a".to_owned(), "a/b*c\\".to_owned())].into();
        let expander = Expander::new(escape);
        let _ = expander.word(&text, &values);
        let _ = expander.variables(&text);
        let _ = Expander::heredoc(&text, &values);
    }

    #[test]
    fn a_word_without_special_characters_is_itself(text in "[a-zA-Z0-9 ./:_-]{0,40}") {
        let values: BTreeMap<String, String> = BTreeMap::new();
        prop_assert_eq!(Expander::new('\\').word(&text, &values).unwrap(), text);
    }

    #[test]
    fn single_quotes_keep_everything(text in "[^']{0,40}") {
        let values: BTreeMap<String, String> = BTreeMap::new();
        prop_assert_eq!(Expander::new('\\').word(&format!("'{text}'"), &values).unwrap(), text);
    }
}
