//! The space of configurations as a range of integers.
//!
//! A number is read as mixed digits, slowest first: workload | system, engine, precision, tp, ep,
//! adp | pp, kv, speculation, role | batch limit, class set. The first block after the workload is a
//! **unit**: its configurations share operator tables. The units of a workload on one system are a
//! **partition**: its configurations may replace each other, so a range of partitions is the work of
//! threads, processes and machines.

use std::ops::Range;

use crate::error::{index, positive, Error, Result};
use crate::perf::layout::{is_layout, Layout};
use crate::perf::parallel::Parallel;
use crate::perf::role::Role;
use crate::workload::{Spec, Workload};

/// Digits of one configuration, as positions on the axes of its workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// Workload.
    pub workload: usize,
    /// Position among the workload's systems.
    pub system: usize,
    /// Position among its engines.
    pub engine: usize,
    /// Position among its precisions.
    pub precision: usize,
    /// Degrees of parallelism.
    pub parallel: Parallel,
    /// Position among its KV dtypes.
    pub kv: usize,
    /// Position among its speculative depths.
    pub speculation: usize,
    /// Role.
    pub role: Role,
    /// Position among its batch limits.
    pub batch: usize,
    /// Position among its class sets.
    pub set: usize,
}

impl Configuration {
    /// The one that serves whole requests at positions (workload, system, engine, precision, KV
    /// dtype, speculation) with degrees (tp, pp, ep, attention dp).
    pub fn serving(spec: &Spec, positions: [usize; 6], degrees: [u32; 4]) -> Result<Self> {
        let [workload, system, engine, precision, kv, speculation] = positions;
        index("workload", workload, spec.workloads.len())?;
        let w = &spec.workloads[workload];
        index("system", system, w.systems.len())?;
        index("engine", engine, w.engines.len())?;
        index("precision", precision, w.precisions.len())?;
        index("KV dtype", kv, w.kv.len())?;
        index("speculation", speculation, w.speculation.len())?;
        let [tp, pp, ep, adp] = degrees;
        for (name, degree) in [("tp", tp), ("pp", pp), ("ep", ep), ("attention dp", adp)] {
            positive(name, f64::from(degree))?;
        }
        Ok(Self {
            workload,
            system,
            engine,
            precision,
            parallel: Parallel { tp, pp, ep, adp },
            kv,
            speculation,
            role: Role::Serve,
            batch: 0,
            set: 0,
        })
    }
}

/// Sizes of the axes of one workload.
#[derive(Debug, Clone)]
struct Axes {
    unit: [usize; 6],
    layout: [usize; 4],
    point: [usize; 2],
    roles: Vec<Role>,
}

fn size(digits: &[usize]) -> u64 {
    digits.iter().map(|d| *d as u64).product()
}

fn digits<const N: usize>(mut number: u64, base: &[usize; N]) -> [usize; N] {
    let mut out = [0; N];
    for i in (0..N).rev() {
        out[i] = (number % base[i] as u64) as usize;
        number /= base[i] as u64;
    }
    out
}

fn number<const N: usize>(digits: [usize; N], base: &[usize; N]) -> u64 {
    digits
        .iter()
        .zip(base)
        .fold(0, |sum, (d, b)| sum * *b as u64 + *d as u64)
}

impl Axes {
    fn new(w: &Workload) -> Self {
        let roles = w.roles();
        Self {
            unit: [
                w.systems.len(),
                w.engines.len(),
                w.precisions.len(),
                w.tp.len(),
                w.ep.len(),
                w.adp.len(),
            ],
            layout: [w.pp.len(), w.kv.len(), w.speculation.len(), roles.len()],
            point: [w.batches.len(), w.set_count()],
            roles,
        }
    }

    fn per_unit(&self) -> u64 {
        size(&self.layout) * size(&self.point)
    }

    fn total(&self) -> u64 {
        size(&self.unit) * self.per_unit()
    }
}

/// The space of one specification.
#[derive(Debug, Clone)]
pub struct Space {
    axes: Vec<Axes>,
    /// First unit of each workload, and the end.
    units: Vec<u64>,
    /// First number of each workload, and the end.
    starts: Vec<u64>,
    /// First partition of each workload, and the end.
    partitions: Vec<u64>,
}

/// Part of a configuration that shares operator tables.
#[derive(Debug, Clone, Copy)]
pub struct Unit {
    /// Workload.
    pub workload: usize,
    /// First number of the unit.
    pub first: u64,
    digits: [usize; 6],
}

/// A layout inside a unit.
#[derive(Debug, Clone, Copy)]
pub struct LayoutChoice {
    /// First number of the layout.
    pub first: u64,
    /// Its digits, batch and set at zero.
    pub configuration: Configuration,
}

impl Space {
    /// Axes of every workload.
    pub fn new(spec: &Spec) -> Self {
        let axes: Vec<Axes> = spec.workloads.iter().map(Axes::new).collect();
        let (mut units, mut starts, mut partitions) = (vec![0], vec![0], vec![0]);
        for a in &axes {
            partitions.push(partitions.last().copied().unwrap_or(0) + a.unit[0] as u64);
            units.push(units.last().copied().unwrap_or(0) + size(&a.unit));
            starts.push(starts.last().copied().unwrap_or(0) + a.total());
        }
        Self {
            axes,
            units,
            starts,
            partitions,
        }
    }

    /// Number of units.
    pub fn unit_count(&self) -> u64 {
        self.units.last().copied().unwrap_or(0)
    }

    /// Number of partitions: a workload on a system each.
    pub fn partition_count(&self) -> u64 {
        self.partitions.last().copied().unwrap_or(0)
    }

    /// Units of the partition with this number.
    pub fn partition(&self, index: u64) -> Range<u64> {
        let workload = self.partitions.partition_point(|first| *first <= index) - 1;
        let per_system = size(&self.axes[workload].unit[1..]);
        let first = self.units[workload] + (index - self.partitions[workload]) * per_system;
        first..first + per_system
    }

    /// Number of integers in the space; not all of them are layouts.
    pub fn len(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Whether the space has no integer at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Integers in each layout of a workload: batch limits × class sets.
    pub fn points_per_layout(&self, workload: usize) -> u64 {
        size(&self.axes[workload].point)
    }

    /// The unit with this number.
    pub fn unit(&self, index: u64) -> Unit {
        let workload = self.units.partition_point(|first| *first <= index) - 1;
        let axes = &self.axes[workload];
        let local = index - self.units[workload];
        Unit {
            workload,
            first: self.starts[workload] + local * axes.per_unit(),
            digits: digits(local, &axes.unit),
        }
    }

    /// The layouts of a unit, in order.
    pub fn layouts<'a>(
        &'a self,
        spec: &'a Spec,
        unit: Unit,
    ) -> impl Iterator<Item = LayoutChoice> + 'a {
        let axes = &self.axes[unit.workload];
        let per_layout = size(&axes.point);
        (0..size(&axes.layout)).map(move |i| LayoutChoice {
            first: unit.first + i * per_layout,
            configuration: self.configuration(spec, unit, digits(i, &axes.layout), [0, 0]),
        })
    }

    fn configuration(
        &self,
        spec: &Spec,
        unit: Unit,
        layout: [usize; 4],
        point: [usize; 2],
    ) -> Configuration {
        let w = &spec.workloads[unit.workload];
        let [system, engine, precision, tp, ep, adp] = unit.digits;
        let [pp, kv, speculation, role] = layout;
        Configuration {
            workload: unit.workload,
            system,
            engine,
            precision,
            parallel: Parallel {
                tp: w.tp[tp],
                pp: w.pp[pp],
                ep: w.ep[ep],
                adp: w.adp[adp],
            },
            kv,
            speculation,
            role: self.axes[unit.workload].roles[role],
            batch: point[0],
            set: point[1],
        }
    }

    /// Reads a number of a workload that has the latency group.
    pub fn decode_at(&self, spec: &Spec, number: u64, group: usize) -> Result<Configuration> {
        let c = self.decode(spec, number)?;
        let groups = spec.workloads[c.workload].round_trip_s.len();
        index("latency group", group, groups)?;
        Ok(c)
    }

    /// Reads a number.
    pub fn decode(&self, spec: &Spec, id: u64) -> Result<Configuration> {
        if id >= self.len() {
            return Err(Error::Unknown {
                what: "configuration",
                index: id,
                len: self.len(),
            });
        }
        let workload = self.starts.partition_point(|first| *first <= id) - 1;
        let axes = &self.axes[workload];
        let local = id - self.starts[workload];
        let unit = self.unit(self.units[workload] + local / axes.per_unit());
        let inside = local % axes.per_unit();
        let layout = digits(inside / size(&axes.point), &axes.layout);
        let point = digits(inside % size(&axes.point), &axes.point);
        Ok(self.configuration(spec, unit, layout, point))
    }

    /// Number of a point inside a layout.
    pub fn point_id(&self, workload: usize, layout_first: u64, batch: usize, set: usize) -> u64 {
        layout_first + number([batch, set], &self.axes[workload].point)
    }
}

/// Resolves a configuration; `None` when it is no layout or has no kernel.
pub fn resolve<'a>(spec: &'a Spec, c: &Configuration) -> Option<Layout<'a>> {
    let w = &spec.workloads[c.workload];
    let system = &spec.systems[w.systems[c.system]];
    let model = &spec.models[w.model];
    if !w.kv_allowed[c.precision][c.kv] || !is_layout(model, system, c.parallel, w.max_gpus) {
        return None;
    }
    Some(Layout {
        spec,
        system,
        kernel: spec.kernel(w.systems[c.system], w.engines[c.engine])?,
        model,
        precision: &spec.precisions[w.precisions[c.precision]],
        kv: w.kv[c.kv],
        parallel: c.parallel,
        speculation: w.speculation[c.speculation],
        role: c.role,
        factors: w.factors([c.system, c.engine, c.precision, c.kv], c.parallel),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec::from_json(include_str!("../benches/spec.json")).unwrap()
    }

    #[test]
    fn mixed_digits_and_back() {
        let base = [3, 1, 4, 2];
        for n in 0..size(&base) {
            let read = digits(n, &base);
            assert!(read.iter().zip(&base).all(|(d, b)| d < b));
            assert_eq!(number(read, &base), n);
        }
        assert_eq!(digits(23, &base), [2, 0, 3, 1]);
    }

    #[test]
    fn units_cover_every_integer_once_and_in_order() {
        let spec = spec();
        let space = Space::new(&spec);
        let mut next = 0;
        for index in 0..space.unit_count() {
            let unit = space.unit(index);
            assert_eq!(unit.first, next);
            for choice in space.layouts(&spec, unit) {
                assert_eq!(choice.first, next);
                assert_eq!(space.decode(&spec, next).unwrap(), choice.configuration);
                next += space.points_per_layout(unit.workload);
            }
        }
        assert_eq!(next, space.len());
        assert!(!space.is_empty());
    }

    #[test]
    fn a_point_has_its_layout_and_its_own_batch_and_set() {
        let spec = spec();
        let space = Space::new(&spec);
        let first = space.unit(space.unit_count() - 1).first;
        let c = space.decode(&spec, space.point_id(2, first, 1, 2)).unwrap();
        assert_eq!((c.workload, c.batch, c.set), (2, 1, 2));
        let past = space.decode(&spec, space.len());
        assert!(matches!(past, Err(Error::Unknown { index, len, .. }) if index == len));
    }

    #[test]
    fn a_forbidden_kv_format_or_a_missing_kernel_is_no_layout() {
        let mut spec = spec();
        let c = Space::new(&spec).decode(&spec, 0).unwrap();
        assert!(resolve(&spec, &c).is_some());
        spec.workloads[0].kv_allowed[0][0] = false;
        assert!(resolve(&spec, &c).is_none());
        spec.workloads[0].kv_allowed[0][0] = true;
        spec.kernels.remove(0);
        assert!(resolve(&spec, &c).is_none());
    }
}
