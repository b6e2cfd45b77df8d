//! A block of points, side by side.

/// Points in a block.
pub const BLOCK: usize = 64;
/// One value per point.
pub type Lanes = [f64; BLOCK];
/// Nothing at every point.
pub const ZERO: Lanes = [0.0; BLOCK];
