//! A layout made ready for all rows that name it.

use crate::error::{not_negative, Error, Result};
use crate::perf::layout::Layout;
use crate::perf::step::StepModel;
use crate::space::{resolve, Configuration};
use crate::workload::{Spec, Speculation};

/// A layout with its tables, prepared once for all its rows.
#[derive(Debug, Clone)]
pub struct Prepared {
    configuration: Configuration,
    speculation: Speculation,
    pub(super) step: StepModel,
}

impl Prepared {
    /// `None`: it is no layout, or a kernel or link that it needs has no figure.
    pub fn new(
        spec: &Spec,
        configuration: Configuration,
        speculation: Speculation,
    ) -> Result<Option<Self>> {
        let most = f64::from(speculation.depth) + 1.0;
        if !(1.0..=most).contains(&speculation.accepted) {
            return Err(Error::Value {
                field: "accepted".to_owned(),
                value: speculation.accepted,
                must: "1 to depth + 1 tokens",
            });
        }
        not_negative("draft_cost", speculation.draft_cost)?;
        let prepared = |mut layout: Layout| {
            layout.speculation = speculation;
            let step = StepModel::of(&layout)?;
            Some(Self {
                configuration,
                speculation,
                step,
            })
        };
        Ok(resolve(spec, &configuration).and_then(prepared))
    }

    pub(super) fn layout<'a>(&self, spec: &'a Spec) -> Option<Layout<'a>> {
        let mut layout = resolve(spec, &self.configuration)?;
        layout.speculation = self.speculation;
        Some(layout)
    }
}
