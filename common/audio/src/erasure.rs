//! A systematic Reed-Solomon code for erasures, over GF(256) with the polynomial x⁸ + x⁴ + x³ + x² + 1.
//!
//! Row `r` of parity is the sum over the columns `c` of [`coefficient`]`(r, c)` times the octets of column `c`.
//! The coefficients are a Cauchy matrix, so that as many rows as columns are missing always rebuild them; its
//! rows and columns are scaled so that row 0 and column 0 are ones. One row is therefore plain XOR, and one
//! column is copied.

/// Rows of parity at most.
pub const MAX_ROWS: usize = 16;
/// Columns at most.
pub const MAX_COLUMNS: usize = 32;

const POLYNOMIAL: u16 = 0x11d;

/// Powers of 2, twice over, so that a sum of two logarithms needs no remainder.
const EXP: [u8; 510] = {
    let mut exp = [0; 510];
    let (mut power, mut index) = (1u16, 0);
    while index < 255 {
        exp[index] = power as u8;
        exp[index + 255] = power as u8;
        power = if power < 128 { power << 1 } else { (power << 1) ^ POLYNOMIAL };
        index += 1;
    }
    exp
};

const LOG: [u8; 256] = {
    let mut log = [0; 256];
    let mut index = 0;
    while index < 255 {
        log[EXP[index] as usize] = index as u8;
        index += 1;
    }
    log
};

const fn multiply(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 { 0 } else { EXP[LOG[a as usize] as usize + LOG[b as usize] as usize] }
}

/// One over `a`; 1 for 0.
const fn inverse(a: u8) -> u8 {
    EXP[255 - LOG[a as usize] as usize]
}

/// A line of products for each factor: a multiplication is one look-up in 256 octets that stay in the cache.
static PRODUCTS: [[u8; 256]; 256] = {
    let mut products = [[0; 256]; 256];
    let mut at = 0;
    while at < 1 << 16 {
        products[at >> 8][at & 0xff] = multiply((at >> 8) as u8, at as u8);
        at += 1;
    }
    products
};

static COEFFICIENTS: [[u8; MAX_COLUMNS]; MAX_ROWS] = {
    let mut cells = [[0; MAX_COLUMNS]; MAX_ROWS];
    let mut at = 0;
    while at < MAX_ROWS * MAX_COLUMNS {
        let (row, column) = (at / MAX_COLUMNS, at % MAX_COLUMNS);
        // Cauchy: 1 / (x + y), with x from 0 for rows and y from 16 for columns, which never meet.
        let (x, y) = (row as u8, (MAX_ROWS + column) as u8);
        let (first_x, first_y) = (0, MAX_ROWS as u8);
        let above = multiply(x ^ first_y, first_x ^ y);
        let below = multiply(x ^ y, first_x ^ first_y);
        cells[row][column] = multiply(above, inverse(below));
        at += 1;
    }
    cells
};

/// The factor of `column` (below 32) in `row` (below 16). Never 0.
pub fn coefficient(row: u8, column: u8) -> u8 {
    COEFFICIENTS[usize::from(row) % MAX_ROWS][usize::from(column) % MAX_COLUMNS]
}

/// Adds `c` times the octets of `from` to those of `to`, which is at least as long.
pub fn add(c: u8, from: &[u8], to: &mut [u8]) {
    if c == 1 {
        to.iter_mut().zip(from).for_each(|(to, from)| *to ^= from);
    } else {
        let products = &PRODUCTS[usize::from(c)];
        to.iter_mut().zip(from).for_each(|(to, from)| *to ^= products[usize::from(*from)]);
    }
}

/// A square matrix of at most 16 by 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix([[u8; MAX_ROWS]; MAX_ROWS]);

impl Matrix {
    /// The cell in `row` and `column`, both below 16.
    pub fn get(&self, row: usize, column: usize) -> u8 {
        self.0[row % MAX_ROWS][column % MAX_ROWS]
    }
}

/// What turns the rows of parity `rows` into the missing `columns`, once the columns that are there were
/// subtracted: missing column `i` is the sum over `j` of `get(i, j)` times row `rows[j]`.
///
/// Rows and columns are distinct, and equally many, at most 16. Else the result means nothing.
pub fn invert(rows: &[u8], columns: &[u8]) -> Matrix {
    let size = rows.len().min(columns.len()).min(MAX_ROWS);
    let mut left = [[0; MAX_ROWS]; MAX_ROWS];
    let mut right = [[0; MAX_ROWS]; MAX_ROWS];
    for (index, row) in rows[..size].iter().enumerate() {
        for (cell, column) in left[index].iter_mut().zip(columns) {
            *cell = coefficient(*row, *column);
        }
        right[index][index] = 1;
    }
    // Gauss and Jordan. No search for a pivot: every square part of a Cauchy matrix is regular.
    for pivot in 0..size {
        let factor = inverse(left[pivot][pivot]);
        let (pivot_left, pivot_right) = (scaled(&left[pivot], factor), scaled(&right[pivot], factor));
        for row in 0..size {
            if row == pivot {
                (left[row], right[row]) = (pivot_left, pivot_right);
            } else {
                let factor = left[row][pivot];
                add(factor, &pivot_left, &mut left[row]);
                add(factor, &pivot_right, &mut right[row]);
            }
        }
    }
    Matrix(right)
}

fn scaled(row: &[u8; MAX_ROWS], factor: u8) -> [u8; MAX_ROWS] {
    row.map(|cell| multiply(cell, factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reed_solomon_erasure::galois_8;

    /// The rows of parity of some columns.
    fn encode(columns: &[Vec<u8>], m: u8) -> Vec<Vec<u8>> {
        let row = |row| {
            let mut sum = vec![0; columns[0].len()];
            (0..).zip(columns).for_each(|(column, octets)| add(coefficient(row, column), octets, &mut sum));
            sum
        };
        (0..m).map(row).collect()
    }

    /// Rebuilds the missing columns from as many rows.
    fn rebuild(columns: &[Vec<u8>], missing: &[u8], rows: &[u8], parity: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut sums: Vec<_> = rows.iter().map(|row| parity[usize::from(*row)].clone()).collect();
        for (row, sum) in rows.iter().zip(&mut sums) {
            for (column, octets) in (0..).zip(columns).filter(|(column, _)| !missing.contains(column)) {
                add(coefficient(*row, column), octets, sum);
            }
        }
        let matrix = invert(rows, missing);
        let column = |index| {
            let mut octets = vec![0; columns[0].len()];
            sums.iter().enumerate().for_each(|(row, sum)| add(matrix.get(index, row), sum, &mut octets));
            octets
        };
        (0..missing.len()).map(column).collect()
    }

    #[test]
    fn the_field_is_the_usual_one() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(multiply(a, b), galois_8::mul(a, b), "{a} times {b}");
            }
            assert_eq!(inverse(a.max(1)), galois_8::div(1, a.max(1)), "one over {a}");
        }
    }

    #[test]
    fn the_first_row_and_the_first_column_are_ones() {
        assert!((0..32).all(|column| coefficient(0, column) == 1));
        assert!((0..16).all(|row| coefficient(row, 0) == 1));
        assert!(COEFFICIENTS.as_flattened().iter().all(|cell| *cell != 0));
    }

    #[test]
    fn any_two_columns_come_back_from_any_two_rows() {
        let columns: Vec<_> = (0..32).map(|column| vec![column, 255 - column, column * 7]).collect();
        let parity = encode(&columns, 16);
        for rows in (0..=255u8).map(|n| [n / 16, n % 16]).filter(|[a, b]| a != b) {
            for missing in (0..1024u16).map(|n| [(n / 32) as u8, (n % 32) as u8]).filter(|[a, b]| a < b) {
                let expected = missing.map(|column| columns[usize::from(column)].clone());
                assert_eq!(rebuild(&columns, &missing, &rows, &parity), expected, "{missing:?} {rows:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_missing_comes_back(k in 1usize..=32, m in 1u8..=16, length in 0usize..40,
                                          octets in prop::collection::vec(any::<u8>(), 32 * 40),
                                          columns in Just((0u8..32).collect::<Vec<_>>()).prop_shuffle(),
                                          rows in Just((0u8..16).collect::<Vec<_>>()).prop_shuffle(),
                                          lost in 1usize..=16) {
            let data: Vec<_> = octets.chunks(40).take(k).map(|column| column[..length].to_vec()).collect();
            let parity = encode(&data, m);
            let lost = lost.min(k).min(m.into());
            let missing: Vec<_> = columns.into_iter().filter(|c| usize::from(*c) < k).take(lost).collect();
            let rows: Vec<_> = rows.into_iter().filter(|row| *row < m).take(lost).collect();
            let expected: Vec<_> = missing.iter().map(|column| data[usize::from(*column)].clone()).collect();
            prop_assert_eq!(rebuild(&data, &missing, &rows, &parity), expected);
        }
    }
}
