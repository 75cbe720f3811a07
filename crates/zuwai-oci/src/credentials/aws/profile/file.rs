//! The two files read into profiles.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::credentials::cloud::SettingsFile;
use crate::secret::Secret;

/// The settings of one profile.
#[derive(Default)]
pub(super) struct Profile(BTreeMap<String, Secret>);

impl Profile {
    /// A setting that is not empty.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(Secret::reveal).filter(|value| !value.is_empty())
    }
}

/// All profiles; shown as the files that they are from.
#[derive(Default)]
pub(super) struct Profiles {
    profiles: BTreeMap<String, Profile>,
    files: Vec<PathBuf>,
}

impl Profiles {
    /// Reads both files. What is in the credentials file comes before what is in the other.
    pub(super) fn read(
        config: Option<&SettingsFile>,
        credentials: Option<&SettingsFile>,
    ) -> Result<Self, String> {
        let mut read = Self::default();
        for (file, is_config) in [(config, true), (credentials, false)] {
            let Some(file) = file else { continue };
            read.files.push(file.path().to_owned());
            if let Some(text) = file.text()? {
                read.add(text, is_config);
            }
        }
        Ok(read)
    }

    /// A profile by its name.
    pub(super) fn get(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// Every profile.
    pub(super) fn all(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// Adds the sections of one file. Lines that are none of `[section]` and `key = value` are passed over, as the SDKs
    /// do; so are settings within settings, which are indented.
    fn add(&mut self, text: &str, is_config: bool) {
        let mut section = None;
        for line in text.lines() {
            let is_nested = line.starts_with([' ', '\t']);
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) || is_nested {
                continue;
            }
            if let Some(header) = line.strip_prefix('[') {
                let name = header.split(']').next().unwrap_or_default().trim();
                section = profile_name(name, is_config).map(str::to_owned);
                if let Some(name) = &section {
                    self.profiles.entry(name.clone()).or_default();
                }
                continue;
            }
            let profile = section.as_ref().and_then(|name| self.profiles.get_mut(name));
            if let (Some(profile), Some((key, value))) = (profile, line.split_once('=')) {
                profile.0.insert(key.trim().to_ascii_lowercase(), Secret::new(uncommented(value)));
            }
        }
    }
}

impl fmt::Display for Profiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        f.write_str(if files.is_empty() { "no file".to_owned() } else { files.join(" or ") }.as_str())
    }
}

/// The profile that a section is: `[profile NAME]` in the configuration, `[NAME]` among the credentials.
fn profile_name(section: &str, is_config: bool) -> Option<&str> {
    if !is_config || section == "default" {
        return Some(section);
    }
    let (kind, name) = section.split_once(char::is_whitespace)?;
    (kind == "profile").then(|| name.trim().trim_matches(['"', '\'']))
}

/// A value without the comment behind it, which begins with a space.
fn uncommented(value: &str) -> &str {
    let ends = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark));
    value[..ends.min().unwrap_or(value.len())].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_the_sdks_do() {
        let mut read = Profiles::default();
        let config = "\u{feff}junk\n# [profile no]\n[default]\nRegion = a # comment\ns3 =\n  region = nested\n\
                      [profile  \"quoted\"]\nregion=b;c\n[plain]\nregion=d\n[sso-session x]\nregion=e\nodd line\n\
                      [profile both]\nregion=f\nrole_arn=r\n[default]\noutput=json\n";
        read.add(config, true);
        read.add("[both]\nregion = g\n[other]\nregion==h\n", false);
        let get = |name: &str, key: &str| read.get(name).and_then(|profile| profile.get(key));
        assert_eq!(get("default", "region"), Some("a"));
        assert_eq!(get("default", "output"), Some("json"));
        assert_eq!(get("default", "s3"), None);
        assert_eq!(get("quoted", "region"), Some("b;c"));
        assert!(read.get("plain").is_none() && read.get("x").is_none() && read.get("no").is_none());
        assert_eq!((get("both", "region"), get("both", "role_arn")), (Some("g"), Some("r")));
        assert_eq!(get("other", "region"), Some("=h"));
    }
}
