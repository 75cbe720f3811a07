//! Where a build's input is: the context and the Dockerfile, from what the user typed to paths that exist.

use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use zuwai_build::request::DockerfileSource;

use crate::error::ProgramError;

/// No Dockerfile is larger; what is, is something else.
const LARGEST_DOCKERFILE: u64 = 16 << 20;

/// The directory that a `--context` or a positional context means.
///
/// # Errors
/// When it is not a directory, or a kind of context whose work belongs to a later version.
pub fn context_directory(text: &str, sub_path: &str) -> Result<PathBuf, ProgramError> {
    if text.is_empty() {
        return Err(ProgramError::NoContext);
    }
    let directory = match text.split_once("://") {
        Some(("dir", path)) => directory_of_url(path),
        Some((scheme, _)) => return Err(ProgramError::NotSupported(format!("a context at {scheme}://"))),
        None if text.starts_with("git@") => {
            return Err(ProgramError::NotSupported("a context in a git repository".to_owned()));
        }
        None => PathBuf::from(text),
    };
    let leads_out = |component: Component<'_>| !matches!(component, Component::Normal(_) | Component::CurDir);
    // A leading slash means the context's own top, as kaniko joined it.
    let below = Path::new(sub_path.trim_start_matches('/'));
    if below.components().any(leads_out) {
        return Err(ProgramError::SubPath(sub_path.to_owned()));
    }
    let mut path = directory;
    if !below.as_os_str().is_empty() {
        path.push(below);
    }
    let failed = |source| ProgramError::Context { path: path.clone(), source };
    let absolute = path.canonicalize().map_err(failed)?;
    if !absolute.is_dir() {
        return Err(failed(std::io::ErrorKind::NotADirectory.into()));
    }
    Ok(absolute)
}

/// `dir://workspace`, with two slashes, is what tutorials write for `/workspace`; kaniko only looked at the path when something
/// was copied from it.
fn directory_of_url(path: &str) -> PathBuf {
    let from_root = Path::new("/").join(path);
    let given = PathBuf::from(path);
    if !given.is_dir() && from_root.is_dir() { from_root } else { given }
}

/// A path as it is from the working directory of now, which building in place may move.
pub fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))
}

/// Which place is looked at first for a Dockerfile given by a relative path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookFirst {
    /// The context. kaniko looked in the working directory first, so that a stray Dockerfile there won over the
    /// context's.
    Context,
    /// The working directory, as docker does for `-f`.
    WorkingDirectory,
}

/// What docker's `CONTEXT` and `-f` mean; `-` is a Dockerfile on standard input for either.
///
/// # Errors
/// When the context or the Dockerfile is not there, or both are to come from standard input.
pub fn context_and_dockerfile(
    context: &str,
    file: &str,
) -> Result<(Option<PathBuf>, DockerfileSource), ProgramError> {
    match (context, file) {
        ("-", "") => return Ok((None, dockerfile_from(std::io::stdin().lock())?)),
        ("-", _) => return Err(ProgramError::StandardInputTwice),
        _ => {}
    }
    let directory = context_directory(context, "")?;
    let dockerfile = match file {
        "-" => dockerfile_from(std::io::stdin().lock())?,
        "" => dockerfile("Dockerfile", Some(&directory), LookFirst::Context)?,
        file => dockerfile(file, Some(&directory), LookFirst::WorkingDirectory)?,
    };
    Ok((Some(directory), dockerfile))
}

/// The Dockerfile that a flag means.
///
/// # Errors
/// When there is none, or it is at a URL.
pub fn dockerfile(
    text: &str,
    context: Option<&Path>,
    first: LookFirst,
) -> Result<DockerfileSource, ProgramError> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err(ProgramError::NotSupported("a Dockerfile at a URL".to_owned()));
    }
    let given = PathBuf::from(text);
    let mut places = vec![given.clone()];
    if let Some(context) = context {
        // `/Dockerfile` may be the context's top, as kaniko had it.
        let inside = context.join(text.trim_start_matches('/'));
        let context_first = first == LookFirst::Context && given.is_relative();
        places.insert(if context_first { 0 } else { 1 }, inside);
    }
    let found = places.iter().find(|place| place.is_file());
    match found {
        Some(place) => {
            let absolute = place.canonicalize();
            Ok(DockerfileSource::Path(absolute.unwrap_or_else(|_| place.clone())))
        }
        None => Err(ProgramError::NoDockerfile { looked_at: places }),
    }
}

/// The Dockerfile on standard input.
///
/// # Errors
/// When it cannot be read, is too large to be one, or is an archive that holds a context.
pub fn dockerfile_from(input: impl std::io::Read) -> Result<DockerfileSource, ProgramError> {
    let mut bytes = Vec::new();
    let read = input.take(LARGEST_DOCKERFILE + 1).read_to_end(&mut bytes);
    read.map_err(|source| ProgramError::StandardInput("the Dockerfile", source))?;
    let is_tar = bytes.get(257..262) == Some(b"ustar");
    if is_tar || zuwai_layer::compression::detect(&bytes) != zuwai_layer::compression::Detected::Plain {
        return Err(ProgramError::NotSupported("a context on standard input".to_owned()));
    }
    if bytes.len() as u64 > LARGEST_DOCKERFILE {
        return Err(ProgramError::DockerfileTooLarge(LARGEST_DOCKERFILE >> 20));
    }
    Ok(DockerfileSource::Text { name: "Dockerfile".to_owned(), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(source: DockerfileSource) -> PathBuf {
        match source {
            DockerfileSource::Path(path) => path,
            DockerfileSource::Text { .. } => panic!("not a path"),
        }
    }

    #[test]
    fn the_context_is_a_directory_with_or_without_scheme() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("sub")).unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        let base = directory.path().to_str().unwrap();
        let real = directory.path().canonicalize().unwrap();
        for (text, sub_path, expected) in [
            (base.to_owned(), "", real.clone()),
            (format!("dir://{base}"), "", real.clone()),
            (format!("dir:/{base}"), "", real.clone()),
            (format!("{base}/"), "sub", real.join("sub")),
            (base.to_owned(), "/sub/", real.join("sub")),
        ] {
            assert_eq!(context_directory(&text, sub_path).unwrap(), expected, "{text} {sub_path}");
        }
        for (text, sub_path, expected) in [
            (String::new(), "", "please specify a path to the build context"),
            (base.to_owned(), "../x", "leads out of the context"),
            (format!("{base}/file"), "", "cannot use"),
            (format!("{base}/missing"), "", "cannot use"),
            ("s3://bucket/x.tar.gz".to_owned(), "", "a context at s3:// is not supported yet"),
            ("tar://stdin".to_owned(), "", "a context at tar:// is not supported yet"),
            ("git@host:x.git".to_owned(), "", "git repository is not supported yet"),
        ] {
            let error = context_directory(&text, sub_path).unwrap_err().to_string();
            assert!(error.contains(expected), "{text} {sub_path}: {error}");
        }
    }

    #[test]
    fn the_context_comes_before_the_working_directory() {
        let directory = tempfile::tempdir().unwrap();
        let context = directory.path().canonicalize().unwrap();
        // This crate's directory is the working directory of its tests.
        std::fs::write(context.join("Cargo.toml"), "").unwrap();
        let found = |first| path_of(dockerfile("Cargo.toml", Some(&context), first).unwrap());
        assert_eq!(found(LookFirst::Context), context.join("Cargo.toml"));
        assert_ne!(found(LookFirst::WorkingDirectory), context.join("Cargo.toml"));

        std::fs::write(context.join("only-there"), "").unwrap();
        for text in ["only-there", "/only-there"] {
            for first in [LookFirst::Context, LookFirst::WorkingDirectory] {
                let found = path_of(dockerfile(text, Some(&context), first).unwrap());
                assert_eq!(found, context.join("only-there"), "{text}");
            }
        }
    }

    #[test]
    fn a_missing_dockerfile_is_an_error_that_says_where_it_was_looked_for() {
        let error = dockerfile("no/such", Some(Path::new("/ctx")), LookFirst::Context).unwrap_err();
        assert_eq!(error.to_string(), "there is no Dockerfile at /ctx/no/such or at no/such");
        let error = dockerfile("https://x/Dockerfile", None, LookFirst::Context).unwrap_err();
        assert_eq!(error.to_string(), "a Dockerfile at a URL is not supported yet");
    }

    #[test]
    fn standard_input_is_a_dockerfile_and_no_archive() {
        assert!(matches!(dockerfile_from(&b"FROM scratch\n"[..]), Ok(DockerfileSource::Text { .. })));
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for archive in [&tar[..], &[0x1f, 0x8b, 8, 0]] {
            let error = dockerfile_from(archive).unwrap_err().to_string();
            assert_eq!(error, "a context on standard input is not supported yet");
        }
        let endless = std::io::repeat(b'#');
        assert!(matches!(dockerfile_from(endless), Err(ProgramError::DockerfileTooLarge(16))));
    }
}
