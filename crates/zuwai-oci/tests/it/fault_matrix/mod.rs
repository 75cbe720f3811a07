//! What a client does, by what goes wrong: every cell ends in success with the same digest or in a typed error, none hangs, and
//! none loses a blob that was sent.
//!
//! The faults are those of the registry in `zuwai_testkit::fault_registry`. A cell says `ok`, the name of an error's variant,
//! or `-` where the fault cannot happen to the request. Where a push fails it is begun again by a new client, without the
//! fault: it must succeed and send what is missing and no more. Where a pull fails, the same is asked again.

mod scene;

use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt as _};
use zuwai_oci::Digest;
use zuwai_testkit::fault_registry::{Cut, Fault, Lifetime, Loss, Operation, Place, Redirect, RetryAfter};

use scene::{Column, PULLS, PUSHES};

/// No cell takes longer than this; one that hangs would.
const GUARD: Duration = Duration::from_secs(60);
/// For as long as the cell lasts.
const EVER: u64 = u64::MAX;

/// A fault's name, the faults, and what comes of it in each column.
type Row = (&'static str, Vec<(Fault, u64)>, &'static str);

fn cut(after: u64, how: Cut) -> Fault {
    Fault::CutAnswer { after, how }
}

#[rustfmt::skip]
fn pulls() -> Vec<Row> {
    let soon = || RetryAfter::Date(SystemTime::now() + Duration::from_secs(2));
    let late = RetryAfter::Seconds(3600);
    let long = Duration::from_secs(3);
    let middle = 1_000_000;
    vec![
        //                                                                                  Tag             Digest          Inner           Config         Token        Ping       Blob           Reader
        ("429 for a second",        vec![(Fault::Later(429, RetryAfter::Seconds(1)), 1)], "ok              ok              ok              ok             ok           ok         ok             ok"),
        ("429 until a date",        vec![(Fault::Later(429, soon()), 1)],                 "ok              ok              ok              ok             ok           ok         ok             ok"),
        ("429 for an hour",         vec![(Fault::Later(429, late), EVER)],                "Refused         Refused         Refused         Refused        Refused      ok         Refused        Refused"),
        ("429 for ever",            vec![(Fault::Status(429), EVER)],                     "Refused         Refused         Refused         Refused        Refused      ok         Refused        Refused"),
        ("500",                     vec![(Fault::Status(500), 1)],                        "ok              ok              ok              ok             ok           ok         ok             ok"),
        ("502",                     vec![(Fault::Status(502), 1)],                        "ok              ok              ok              ok             ok           ok         ok             ok"),
        ("503 twice",               vec![(Fault::Status(503), 2)],                        "ok              ok              ok              ok             ok           ok         ok             ok"),
        ("504",                     vec![(Fault::Status(504), 1)],                        "ok              ok              ok              ok             ok           ok         ok             ok"),
        ("500 for ever",            vec![(Fault::Status(500), EVER)],                     "Refused         Refused         Refused         Refused        Refused      ok         Refused        Refused"),
        ("400",                     vec![(Fault::Status(400), EVER)],                     "Refused         Refused         Refused         Refused        Refused      ok         Refused        Refused"),
        ("404",                     vec![(Fault::Status(404), EVER)],                     "ManifestUnknown ManifestUnknown ManifestUnknown BlobUnknown    Refused      ok         BlobUnknown    BlobUnknown"),
        ("403",                     vec![(Fault::Status(403), EVER)],                     "Denied          Denied          Denied          Denied         Denied       ok         Denied         Denied"),
        ("token expired",           vec![(Fault::Expired, 1)],                            "Unauthorized    Unauthorized    ok              ok             -            ok         Unauthorized   Unauthorized"),
        ("401 for ever",            vec![(Fault::Expired, EVER)],                         "Unauthorized    Unauthorized    Unauthorized    Unauthorized   Unauthorized ok         Unauthorized   Unauthorized"),
        ("reset",                   vec![(Fault::Reset, 1)],                              "ok              ok              ok              ok             ok           ok         ok             ok"),
        ("reset for ever",          vec![(Fault::Reset, EVER)],                           "Transport       Transport       Transport       Transport      Transport    Transport  Transport      Transport"),
        ("silence",                 vec![(Fault::Silent, 1)],                             "ok              ok              ok              ok             ok           ok         ok             ok"),
        ("silence for ever",        vec![(Fault::Silent, EVER)],                          "Timeout         Timeout         Timeout         Timeout        Timeout      Timeout    Timeout        Timeout"),
        ("reset early in the body", vec![(cut(20, Cut::Reset), 1)],                       "ok              ok              ok              ok             ok           -          ok             ok"),
        ("closed early",            vec![(cut(20, Cut::Close), 1)],                       "ok              ok              ok              ok             ok           -          ok             ok"),
        ("stalled early",           vec![(cut(20, Cut::Stall), 1)],                       "ok              ok              ok              ok             ok           -          ok             ok"),
        ("reset always",            vec![(cut(20, Cut::Reset), EVER)],                    "Transport       Transport       Transport       Truncated      Transport    -          -              -"),
        ("closed always",           vec![(cut(20, Cut::Close), EVER)],                    "Transport       Transport       Transport       Truncated      Transport    -          -              -"),
        ("stalled always",          vec![(cut(20, Cut::Stall), EVER)],                    "Timeout         Timeout         Timeout         Timeout        Timeout      -          -              -"),
        ("reset in the middle",     vec![(cut(middle, Cut::Reset), 1)],                   "-               -               -               -              -            -          ok             ok"),
        ("closed in the middle",    vec![(cut(middle, Cut::Close), 1)],                   "-               -               -               -              -            -          ok             ok"),
        ("stalled in the middle",   vec![(cut(middle, Cut::Stall), 1)],                   "-               -               -               -              -            -          ok             ok"),
        ("cut five times",          vec![(cut(300_000, Cut::Reset), 5)],                  "-               -               -               -              -            -          ok             ok"),
        ("no byte ever",            vec![(cut(0, Cut::Reset), EVER)],                     "Transport       Transport       Transport       Truncated      Transport    -          Truncated      Truncated"),
        ("range ignored",           vec![(cut(middle, Cut::Close), 1), (Fault::RangeIgnored, EVER)],
                                                                                          "-               -               -               -              -            -          ok             ok"),
        ("another range",           vec![(cut(middle, Cut::Close), 1), (Fault::RangeShifted(7), EVER)],
                                                                                          "-               -               -               -              -            -          ok             ok"),
        ("416 to a range",          vec![(cut(middle, Cut::Close), 1), (Fault::Status(416), 1)],
                                                                                          "-               -               -               -              -            -          ok             ok"),
        ("500 after a cut",         vec![(cut(middle, Cut::Close), 1), (Fault::Status(500), 1)],
                                                                                          "-               -               -               -              -            -          ok             ok"),
        ("token expired after it",  vec![(cut(middle, Cut::Close), 1), (Fault::Expired, 1)],
                                                                                          "-               -               -               -              -            -          ok             ok"),
        ("damaged once",            vec![(Fault::Corrupt { at: 30 } , 1)],                "ok              ok              ok              ok             -            -          ok             DigestMismatch"),
        ("damaged always",          vec![(Fault::Corrupt { at: 30 } , EVER)],             "DigestMismatch  DigestMismatch  DigestMismatch  DigestMismatch -            -          DigestMismatch DigestMismatch"),
        ("slow",                    vec![(Fault::Drip(Duration::from_millis(1)), 1)],     "ok              ok              ok              ok             ok           ok         -              -"),
        ("too slow once",           vec![(Fault::Drip(long), 1)],                         "ok              ok              ok              ok             ok           ok         ok             ok"),
        ("too slow always",         vec![(Fault::Drip(long), EVER)],                      "Timeout         Timeout         Timeout         Timeout        Timeout      ok         -              -"),
        ("longer than said",        vec![(Fault::WrongLength(9), EVER)],                  "Transport       Transport       Transport       TooLong        Transport    -          TooLong        TooLong"),
        ("digest header lies",      vec![(Fault::WrongDigest, EVER)],                     "DigestMismatch  DigestMismatch  DigestMismatch  ok             -            -          ok             ok"),
        ("no media type",           vec![(Fault::NoContentType, EVER)],                   "ok              ok              ok              ok             ok           ok         ok             ok"),
        ("oversize",                vec![(Fault::Oversize(5 << 20), EVER)],               "Document        Document        Document        -              Document     ok         -              -"),
        ("redirect without end",    vec![(Fault::Redirect(Redirect::Loop), EVER)],        "Answered        Answered        Answered        Answered       -            -          Answered       Answered"),
        ("redirect",                vec![(Fault::Redirect(Redirect::Storage), EVER)],     "-               -               -               ok             -            -          ok             ok"),
        ("redirect that is over",   vec![(Fault::Redirect(Redirect::Expired), 1)],        "-               -               -               ok             -            -          ok             ok"),
        ("always over",             vec![(Fault::Redirect(Redirect::Expired), EVER)],     "-               -               -               Denied         -            -          Denied         Denied"),
    ]
}

#[rustfmt::skip]
fn pushes() -> Vec<Row> {
    let late = RetryAfter::Seconds(3600);
    let request = |after, keep| Fault::CutRequest { after, keep };
    let lost = |status| Fault::Lost(Loss::Status(status, "UNKNOWN"));
    let unknown = || Fault::Lost(Loss::Status(404, "BLOB_UPLOAD_UNKNOWN"));
    vec![
        //                                                                                  Check        Head         Start        Patch        Status Commit       Put          Mount Manifest
        ("429 for a second",       vec![(Fault::Later(429, RetryAfter::Seconds(1)), 1)],  "ok           ok           ok           ok           ok     ok           ok           ok    ok"),
        ("429 for an hour",        vec![(Fault::Later(429, late), EVER)],                 "Refused      Refused      Refused      Refused      ok     Refused      Refused      ok    Refused"),
        ("500",                    vec![(Fault::Status(500), 1)],                         "ok           ok           ok           ok           ok     ok           ok           ok    ok"),
        ("502",                    vec![(Fault::Status(502), 1)],                         "ok           ok           ok           ok           ok     ok           ok           ok    ok"),
        ("503 twice",              vec![(Fault::Status(503), 2)],                         "ok           ok           ok           ok           ok     ok           ok           ok    ok"),
        ("504",                    vec![(Fault::Status(504), 1)],                         "ok           ok           ok           ok           ok     ok           ok           ok    ok"),
        ("500 for ever",           vec![(Fault::Status(500), EVER)],                      "Refused      Refused      Refused      Refused      ok     Refused      Refused      ok    Refused"),
        ("404 once",               vec![(Fault::Status(404), 1)],                         "NameUnknown  ok           NameUnknown  ok           ok     ok           ok           ok    NameUnknown"),
        ("404 for ever",           vec![(Fault::Status(404), EVER)],                      "NameUnknown  ok           NameUnknown  Refused      ok     Refused      Refused      ok    NameUnknown"),
        ("403",                    vec![(Fault::Status(403), EVER)],                      "Denied       Denied       Denied       Denied       ok     Denied       Denied       ok    Denied"),
        ("token expired",          vec![(Fault::Expired, 1)],                             "Unauthorized ok           ok           ok           ok     ok           ok           ok    ok"),
        ("401 for ever",           vec![(Fault::Expired, EVER)],                          "Unauthorized Unauthorized Unauthorized Unauthorized ok     Unauthorized Unauthorized ok    Unauthorized"),
        ("reset",                  vec![(Fault::Reset, 1)],                               "ok           ok           ok           ok           ok     ok           ok           ok    ok"),
        ("reset for ever",         vec![(Fault::Reset, EVER)],                            "Transport    Transport    Transport    Transport    ok     Transport    Transport    ok    Transport"),
        ("silence",                vec![(Fault::Silent, 1)],                              "ok           ok           ok           ok           ok     ok           ok           ok    ok"),
        ("silence for ever",       vec![(Fault::Silent, EVER)],                           "Timeout      Timeout      Timeout      Timeout      ok     Timeout      Timeout      ok    Timeout"),
        ("cut, all kept",          vec![(request(1_000_000, 1_000_000), 1)],              "-            -            -            ok           -      -            -            -     -"),
        ("cut, some kept",         vec![(request(1_000_000, 900_000), 1)],                "-            -            -            ok           -      -            -            -     -"),
        ("cut, none kept",         vec![(request(1_000_000, 0), 1)],                      "-            -            -            ok           -      -            -            -     -"),
        ("cut five times",         vec![(request(400_000, 300_000), 5)],                  "-            -            -            ok           -      -            -            -     -"),
        ("cut early",              vec![(request(5, 3), 1)],                              "-            -            -            ok           -      -            ok           -     -"),
        ("answer lost",            vec![(Fault::Lost(Loss::Reset), 1)],                   "ok           ok           ok           ok           ok     ok           ok           ok    ok"),
        ("answer lost to a 504",   vec![(lost(504), 1)],                                  "ok           ok           ok           ok           ok     ok           ok           ok    ok"),
        ("upload said unknown",    vec![(unknown(), 1)],                                  "-            -            -            ok           ok     ok           ok           -     -"),
        ("416",                    vec![(Fault::Status(416), 1)],                         "-            -            -            ok           ok     ok           -            -     -"),
        ("400 once",               vec![(Fault::Status(400), 1)],                         "Refused      Refused      ok           ok           ok     ok           ok           ok    Refused"),
        ("small bodies only",      vec![(Fault::BodyLimit(1_200_000), EVER)],             "-            -            -            ok           -      -            -            -     -"),
        ("no bodies at all",       vec![(Fault::BodyLimit(0), EVER)],                     "-            -            -            Refused      -      -            -            -     Refused"),
        ("cannot mount",           vec![(Fault::NotMounted, EVER)],                       "-            -            -            -            -      -            -            ok    -"),
        ("path as address",        vec![(Fault::Location(Place::Path), EVER)],            "ok           -            ok           ok           ok     -            -            -     -"),
        ("relative address",       vec![(Fault::Location(Place::Relative), EVER)],        "ok           -            ok           ok           ok     -            -            -     -"),
        ("without a scheme",       vec![(Fault::Location(Place::WithoutScheme), EVER)],   "ok           -            ok           ok           ok     -            -            -     -"),
        ("address elsewhere",      vec![(Fault::Location(Place::Storage), EVER)],         "ok           -            ok           ok           ok     -            -            -     -"),
        ("digest header lies",     vec![(Fault::WrongDigest, EVER)],                      "-            ok           -            -            -      ok           ok           -     DigestMismatch"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_end_well_or_in_a_typed_error() {
    check(&PULLS, pulls()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_end_well_or_in_a_typed_error_and_lose_nothing() {
    check(&PUSHES, pushes()).await;
}

/// Goes through a table, several cells at a time, and tells of all that are not as it says.
async fn check(columns: &[Column], rows: Vec<Row>) {
    let mut cells = Vec::new();
    for (name, faults, outcomes) in rows {
        let outcomes: Vec<&str> = outcomes.split_whitespace().collect();
        assert_eq!(outcomes.len(), columns.len(), "{name}");
        let applicable = columns.iter().zip(outcomes).filter(|(_, outcome)| *outcome != "-");
        cells.extend(applicable.map(|(column, outcome)| (name, faults.clone(), *column, outcome)));
    }
    let count = cells.len();
    let outcomes = cells.into_iter().map(|(name, faults, column, expected)| {
        // A thread of its own, so that a panic in one is one failing cell.
        let runtime = tokio::runtime::Handle::current();
        let running = tokio::task::spawn_blocking(move || {
            runtime.block_on(async { tokio::time::timeout(GUARD, cell(column, faults)).await })
        });
        async move {
            let found = match running.await {
                Ok(Ok(found)) => found,
                Ok(Err(_)) => Err("hangs".to_owned()),
                Err(panic) => Err(format!("panics: {panic}")),
            };
            let wrong = |found: &str| format!("{name} / {column:?}: expected {expected}, found {found}");
            match found {
                Ok(found) if found.split_whitespace().next() == Some(expected) => None,
                Ok(found) | Err(found) => Some(wrong(&found)),
            }
        }
    });
    let wrong: Vec<Option<String>> = stream::iter(outcomes).buffer_unordered(8).collect().await;
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} of {count} cells:\n{}", wrong.len(), wrong.join("\n"));
}

/// What came of it: `ok`, or the error's variant and words.
async fn cell(column: Column, faults: Vec<(Fault, u64)>) -> Result<String, String> {
    let (registry, index) = scene::registry();
    let rules = column.order(&registry, &faults);
    // Whose token it is that ends must not depend on who comes first.
    let uploads = if faults.iter().any(|(fault, _)| matches!(fault, Fault::Expired)) { 1 } else { 4 };
    let client = scene::client(&registry, uploads);
    let outcome = column.carry_out(&registry, client, index).await;
    for rule in &rules {
        if rule.happened() == 0 {
            return Err(format!("the fault did not happen: {rule:?}, {outcome:?}"));
        }
    }
    let Err(error) = outcome else { return Ok("ok".to_owned()) };
    let shown = error.to_string();
    if !shown.contains("127.0.0.1") || !(shown.contains("from/base") || shown.contains("to/app")) {
        return Err(format!("the error does not say where: {shown}"));
    }
    match column {
        Column::Check => {}
        _ if column.is_push() => scene::push_again(&registry).await?,
        _ => {
            registry.mend();
            let again = column.carry_out(&registry, scene::client(&registry, 4), index).await;
            again.map_err(|error| format!("failed without the fault: {error:?}"))?;
        }
    }
    let variant = format!("{:?}", error.root());
    let variant = variant.split([' ', '(']).next().unwrap_or_default();
    Ok(format!("{variant} ({shown})"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_goes_on_though_its_tokens_end_all_the_time() {
    let registry = scene::registry_with(Lifetime::Requests(2)).0;
    Column::Start.carry_out(&registry, scene::client(&registry, 1), Digest::of(b"")).await.unwrap();
    let renewed = registry.count(Operation::Token);
    assert!(renewed >= 4, "a token is good for two requests: {renewed}");
}
