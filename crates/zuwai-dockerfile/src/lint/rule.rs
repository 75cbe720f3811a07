//! The checks by name: BuildKit's names, descriptions and pages.

/// Where the page of a check is, before its name in words.
const PAGES: &str = "https://docs.docker.com/go/dockerfile/rule/";

/// A check of BuildKit's Dockerfile frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A name after AS with capitals.
    StageNameCasing,
    /// `from ... AS` and `FROM ... as`.
    FromAsCasing,
    /// A blank line inside an instruction.
    NoEmptyContinuation,
    /// Keywords in another case than most are.
    ConsistentInstructionCasing,
    /// Two stages of one name.
    DuplicateStageName,
    /// A stage that is called `scratch` or `context`.
    ReservedStageName,
    /// CMD or ENTRYPOINT as text for the shell.
    JsonArgsRecommended,
    /// MAINTAINER.
    MaintainerDeprecated,
    /// FROM with an argument that nobody declares.
    UndefinedArgInFrom,
    /// A relative WORKDIR before any absolute one.
    WorkdirRelativePath,
    /// A variable that nobody sets.
    UndefinedVar,
    /// Several CMD, ENTRYPOINT or HEALTHCHECK in one stage.
    MultipleInstructionsDisallowed,
    /// `ENV name value`.
    LegacyKeyValueFormat,
    /// A base of another platform than the stage's.
    InvalidBaseImagePlatform,
    /// `FROM --platform=$TARGETPLATFORM`.
    RedundantTargetPlatform,
    /// A password in ARG or ENV, by its name.
    SecretsUsedInArgOrEnv,
    /// FROM with an argument whose default gives no image.
    InvalidDefaultArgInFrom,
    /// `FROM --platform=linux/amd64`.
    FromPlatformFlagConstDisallowed,
    /// COPY of a file that `.dockerignore` leaves out.
    CopyIgnoredFile,
    /// A comment above ARG or FROM that does not describe it.
    InvalidDefinitionDescription,
    /// `EXPOSE 80/TCP`.
    ExposeProtoCasing,
    /// `EXPOSE 127.0.0.1:80:80`.
    ExposeInvalidFormat,
}

/// What is said about a check: its name, what it wants, and what to do.
struct Texts {
    name: &'static str,
    page: &'static str,
    description: &'static str,
    help: &'static str,
}

impl Rule {
    /// All of them, in BuildKit's order.
    pub const ALL: [Rule; 22] = [
        Rule::StageNameCasing,
        Rule::FromAsCasing,
        Rule::NoEmptyContinuation,
        Rule::ConsistentInstructionCasing,
        Rule::DuplicateStageName,
        Rule::ReservedStageName,
        Rule::JsonArgsRecommended,
        Rule::MaintainerDeprecated,
        Rule::UndefinedArgInFrom,
        Rule::WorkdirRelativePath,
        Rule::UndefinedVar,
        Rule::MultipleInstructionsDisallowed,
        Rule::LegacyKeyValueFormat,
        Rule::InvalidBaseImagePlatform,
        Rule::RedundantTargetPlatform,
        Rule::SecretsUsedInArgOrEnv,
        Rule::InvalidDefaultArgInFrom,
        Rule::FromPlatformFlagConstDisallowed,
        Rule::CopyIgnoredFile,
        Rule::InvalidDefinitionDescription,
        Rule::ExposeProtoCasing,
        Rule::ExposeInvalidFormat,
    ];

    /// BuildKit's name, which `# check=skip=` takes.
    pub fn name(self) -> &'static str {
        self.texts().name
    }

    /// What the check wants, in BuildKit's words.
    pub fn description(self) -> &'static str {
        self.texts().description
    }

    /// The page that explains it.
    pub fn url(self) -> String {
        format!("{PAGES}{}/", self.texts().page)
    }

    /// What to do about a finding.
    pub fn help(self) -> &'static str {
        self.texts().help
    }

    /// Whether it is off unless `# check=experimental=` asks for it.
    pub fn is_experimental(self) -> bool {
        matches!(self, Rule::CopyIgnoredFile | Rule::InvalidDefinitionDescription)
    }

    fn texts(self) -> Texts {
        let (name, page, description, help) = match self {
            Rule::StageNameCasing => (
                "StageNameCasing",
                "stage-name-casing",
                "Stage names should be lowercase",
                "write the name in lower case; names are compared without case",
            ),
            Rule::FromAsCasing => (
                "FromAsCasing",
                "from-as-casing",
                "The 'as' keyword should match the case of the 'from' keyword",
                "write FROM and AS in the same case",
            ),
            Rule::NoEmptyContinuation => (
                "NoEmptyContinuation",
                "no-empty-continuation",
                "Empty continuation lines will become errors in a future release",
                "remove the blank line",
            ),
            Rule::ConsistentInstructionCasing => (
                "ConsistentInstructionCasing",
                "consistent-instruction-casing",
                "All commands within the Dockerfile should use the same casing (either upper or lower)",
                "write all keywords in the same case",
            ),
            Rule::DuplicateStageName => (
                "DuplicateStageName",
                "duplicate-stage-name",
                "Stage names should be unique",
                "the later stage hides the earlier one; give one of them another name",
            ),
            Rule::ReservedStageName => (
                "ReservedStageName",
                "reserved-stage-name",
                "Reserved words should not be used as stage names",
                "give the stage another name",
            ),
            Rule::JsonArgsRecommended => (
                "JSONArgsRecommended",
                "json-args-recommended",
                "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
                "write the words as a JSON array, or say with SHELL which shell is meant",
            ),
            Rule::MaintainerDeprecated => (
                "MaintainerDeprecated",
                "maintainer-deprecated",
                "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
                "write LABEL org.opencontainers.image.authors=\"...\"",
            ),
            Rule::UndefinedArgInFrom => (
                "UndefinedArgInFrom",
                "undefined-arg-in-from",
                "FROM command must use declared ARGs",
                "declare it with ARG before the first FROM",
            ),
            Rule::WorkdirRelativePath => (
                "WorkdirRelativePath",
                "workdir-relative-path",
                "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
                "begin the path with /",
            ),
            Rule::UndefinedVar => (
                "UndefinedVar",
                "undefined-var",
                "Variables should be defined before their use",
                "declare it with ARG or ENV in this stage, before this line",
            ),
            Rule::MultipleInstructionsDisallowed => (
                "MultipleInstructionsDisallowed",
                "multiple-instructions-disallowed",
                "Multiple instructions of the same type should not be used in the same stage",
                "remove this one; a later one takes its place",
            ),
            Rule::LegacyKeyValueFormat => (
                "LegacyKeyValueFormat",
                "legacy-key-value-format",
                "Legacy key/value format with whitespace separator should not be used",
                "put = between name and value, and quotes around a value with spaces",
            ),
            Rule::InvalidBaseImagePlatform => (
                "InvalidBaseImagePlatform",
                "invalid-base-image-platform",
                "Base image platform does not match expected target platform",
                "say with --platform which platform is meant, or take an image that has it",
            ),
            Rule::RedundantTargetPlatform => (
                "RedundantTargetPlatform",
                "redundant-target-platform",
                "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
                "remove the flag",
            ),
            Rule::SecretsUsedInArgOrEnv => (
                "SecretsUsedInArgOrEnv",
                "secrets-used-in-arg-or-env",
                "Sensitive data should not be used in the ARG or ENV commands",
                "anyone who has the image can read it; use RUN --mount=type=secret",
            ),
            Rule::InvalidDefaultArgInFrom => (
                "InvalidDefaultArgInFrom",
                "invalid-default-arg-in-from",
                "Default value for global ARG results in an empty or invalid base image name",
                "give the argument a default that makes a valid image name",
            ),
            Rule::FromPlatformFlagConstDisallowed => (
                "FromPlatformFlagConstDisallowed",
                "from-platform-flag-const-disallowed",
                "FROM --platform flag should not use a constant value",
                "use $BUILDPLATFORM or $TARGETPLATFORM, or put the platform into the stage's name",
            ),
            Rule::CopyIgnoredFile => (
                "CopyIgnoredFile",
                "copy-ignored-file",
                "Attempting to Copy file that is excluded by .dockerignore",
                "add an exception (!PATH) to the ignore file, or do not copy it",
            ),
            Rule::InvalidDefinitionDescription => (
                "InvalidDefinitionDescription",
                "invalid-definition-description",
                "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
                "begin the comment with the name that it describes",
            ),
            Rule::ExposeProtoCasing => (
                "ExposeProtoCasing",
                "expose-proto-casing",
                "Protocol in EXPOSE instruction should be lowercase",
                "write the protocol in lower case",
            ),
            Rule::ExposeInvalidFormat => (
                "ExposeInvalidFormat",
                "expose-invalid-format",
                "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
                "write the container's port alone; where it is published is said when the container is started",
            ),
        };
        Texts { name, page, description, help }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_the_names_in_words() {
        for rule in Rule::ALL {
            let page = rule.texts().page.replace('-', "");
            assert_eq!(page, rule.name().to_lowercase());
        }
    }
}
