//! Which checks are wanted, where the build says so and not the Dockerfile.

use crate::ast::Check;
use crate::directive::check_options;

/// The build argument that stands in for the whole `# check=` directive.
pub const CONFIG_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Reads the build argument; an empty one wants all checks, as no directive does.
///
/// # Errors
/// When it cannot be read; the text is BuildKit's.
pub fn from_build_arg(text: &str) -> Result<Check, String> {
    check_options(text).map_err(|error| format!("failed to parse build-arg:{CONFIG_ARG}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_is_read_as_the_directive_is() {
        let check = from_build_arg("skip=A, B,c;error=true;experimental=all").unwrap();
        assert_eq!(check.skip, ["A", " B", "c"]);
        assert!(check.error && check.experimental_all && !check.skip_all);
        assert_eq!(from_build_arg("").unwrap(), Check::default());
        assert!(from_build_arg(" skip = all ").unwrap().skip_all);
        for (text, expected) in [
            ("bogus", "invalid check option \"bogus\""),
            ("a=b", "invalid check option \"a\""),
            ("error=true;", "invalid check option \"\""),
        ] {
            let expected = format!("failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: {expected}");
            assert_eq!(from_build_arg(text).unwrap_err(), expected);
        }
    }
}
