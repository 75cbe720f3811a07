//! Finding stages, as FROM, COPY --from, RUN --mount from and `--target` name them.

use crate::ast::{Dockerfile, Stage};

impl Dockerfile {
    /// The stage of that name, without case; of several the last one. `before` bounds the search to stages with a
    /// smaller number, as a FROM line sees them.
    pub fn stage_named(&self, name: &str, before: usize) -> Option<&Stage> {
        let name = name.to_lowercase();
        self.stages
            .iter()
            .take(before)
            .rev()
            .find(|stage| stage.from.name.as_ref().is_some_and(|word| word.text == name))
    }

    /// The stage that COPY --from or `--target` mean: by name, else by number.
    pub fn stage(&self, name_or_number: &str) -> Option<&Stage> {
        self.stage_named(name_or_number, self.stages.len()).or_else(|| {
            let number: usize = name_or_number.parse().ok()?;
            self.stages.get(number)
        })
    }

    /// The names of all stages that have one, in order: what to suggest where a name is unknown.
    pub fn stage_names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(|stage| stage.from.name.as_ref()).map(|word| word.text.as_str())
    }

    /// The stage whose name is nearest to one that is not there.
    pub fn stage_suggestion(&self, name: &str) -> Option<&str> {
        let names: Vec<&str> = self.stage_names().collect();
        crate::suggest::nearest(name, &names)
    }
}
