//! Best routing of demand through fleets whose systems are given: one linear programme, many right sides.
//!
//! ```text
//! min  c·x   s.t.   A x + s = b,   x, s ≥ 0,   b = b0 + R·t ≥ 0
//! ```
//!
//! The first `demands` rows are equalities whose `s` is demand left unmet, at a cost above all others, so
//! every fleet has a routing; in the other rows `s` is slack. A fleet is the vector `t` of its usable
//! systems. Only `b` differs between fleets, so an optimal basis stays dual feasible and the dual simplex
//! method (Lemke, 1) goes from one fleet to the next in few pivots. The tableau holds `B⁻¹` in the columns of `s`.
//!
//! **Certificate.** Each answer is checked against the matrix as given: `x ≥ 0`, `A x ≤ b`, and by weak
//! duality (Dantzig, 2) no routing costs less than `y·b` minus what dual infeasibility could be worth. An
//! answer whose gap is above the tolerance is solved again from the first basis. Fleets start
//! from one of a few reference bases that come from the problem alone, so that answers depend neither
//! on threads nor on the fleets around: all are dual feasible, and `y·b` tells which is nearest.
//!
//! 1. C. Lemke, *The dual method of solving the linear programming problem*, Naval Res. Log. Q. 1, 1954
//! 2. G. Dantzig, *Linear Programming and Extensions*, 1963
//!
//! Calls go one way: `problem`, `tableau` ▸ `scaled` ▸ `certificate` ▸ `fleet` ▸ `route`.

mod certificate;
mod fleet;
mod problem;
mod route;
mod scaled;
mod tableau;

pub use certificate::GAP;
pub use problem::Routing;
pub use route::Routed;
