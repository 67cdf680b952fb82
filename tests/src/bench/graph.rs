//! The graph that is measured on: R-MAT, whose degrees follow a power law as those of real graphs do.
//!
//! The files are the same on every machine. They are written into a directory of another name that is renamed
//! when they are whole, so what is there under its own name is complete.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::random::Random;
use super::{Result, at};

/// Nodes are 2 to the power of this.
const SCALE: u32 = 17;
/// Edges that are drawn; loops and repetitions are left out, and about 1.86 million stay.
const DRAWS: usize = 2_000_000;
/// How likely an edge falls into the first, second and third quarter of the matrix; the rest is the fourth's.
const QUARTERS: [f64; 3] = [0.57, 0.19, 0.19];
const SEED: u64 = 42;

/// A graph in memory, and where its files are.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) dir: PathBuf,
    /// Ids are all below it.
    pub(crate) nodes: usize,
    /// Start and end.
    pub(crate) edges: Vec<(u32, u32)>,
}

impl Graph {
    pub(crate) fn nodes_csv(&self) -> PathBuf {
        self.dir.join("nodes.csv")
    }

    pub(crate) fn edges_csv(&self) -> PathBuf {
        self.dir.join("edges.csv")
    }

    /// The graph whose files are in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Graph> {
        let mut graph = Graph { dir: dir.to_owned(), nodes: 0, edges: Vec::new() };
        let path = graph.nodes_csv();
        let mut nodes = 0;
        for_each_line(&path, "id,name,age", |line| {
            let (id, rest) = line.split_once(',')?;
            // Starting nodes are drawn by id, and found in the database by name.
            (id.parse() == Ok(nodes) && rest.split(',').next()? == format!("user{nodes}")).then_some(())?;
            nodes += 1;
            Some(())
        })?;
        graph.nodes = nodes;
        let path = graph.edges_csv();
        for_each_line(&path, "src,dst,since", |line| {
            let mut fields = line.split(',');
            let (start, end) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            if start as usize >= nodes || end as usize >= nodes {
                return None;
            }
            graph.edges.push((start, end));
            Some(())
        })?;
        if graph.nodes == 0 || graph.edges.is_empty() {
            return Err(format!("{}: the graph is empty", dir.display()).into());
        }
        Ok(graph)
    }

    /// The graph whose files are in `dir`, made there if they are not.
    pub(crate) fn read_or_make(dir: &Path) -> Result<Graph> {
        if !dir.exists() {
            make(dir)?;
        }
        Graph::read(dir)
    }
}

fn for_each_line(path: &Path, head: &str, mut take: impl FnMut(&str) -> Option<()>) -> Result<()> {
    let file = BufReader::with_capacity(1 << 20, File::open(path).map_err(at(path))?);
    for (number, line) in file.lines().enumerate() {
        let line = line.map_err(at(path))?;
        let line = line.trim_end();
        let fits = if number == 0 { (line == head).then_some(()) } else { take(line) };
        if fits.is_none() {
            let number = number + 1;
            return Err(
                format!("{}:{number}: not as expected under the heading {head}", path.display()).into()
            );
        }
    }
    Ok(())
}

fn make(dir: &Path) -> Result<()> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = dir.with_file_name(format!("{name}.{}.part", std::process::id()));
    fs::create_dir_all(&unfinished).map_err(at(&unfinished))?;
    let written = write(&unfinished).and_then(|()| fs::rename(&unfinished, dir).map_err(at(dir)));
    if written.is_err() {
        // The first error is the one that counts.
        let _ = fs::remove_dir_all(&unfinished);
    }
    written
}

fn write(dir: &Path) -> Result<()> {
    let mut random = Random::new(SEED);
    let edges = draw_edges(&mut random);

    let path = dir.join("nodes.csv");
    let mut file = BufWriter::new(File::create(&path).map_err(at(&path))?);
    writeln!(file, "id,name,age").map_err(at(&path))?;
    for id in 0..1_usize << SCALE {
        writeln!(file, "{id},user{id},{}", 1 + random.below(99)).map_err(at(&path))?;
    }
    file.flush().map_err(at(&path))?;

    let path = dir.join("edges.csv");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(at(&path))?);
    writeln!(file, "src,dst,since").map_err(at(&path))?;
    for (start, end) in edges {
        writeln!(file, "{start},{end},{}", 1990 + random.below(36)).map_err(at(&path))?;
    }
    file.flush().map_err(at(&path))
}

/// Distinct edges in random order between nodes in random order.
fn draw_edges(random: &mut Random) -> Vec<(u32, u32)> {
    let mut names: Vec<u32> = (0..1 << SCALE).collect();
    random.shuffle(&mut names);
    let [first, second, third] = QUARTERS;
    let mut edges = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let (mut start, mut end) = (0, 0);
        for _ in 0..SCALE {
            let draw = random.fraction();
            let lower = draw >= first + second;
            let right = draw >= first && !lower || draw >= first + second + third;
            start = start << 1 | usize::from(lower);
            end = end << 1 | usize::from(right);
        }
        if start != end {
            edges.push((names[start], names[end]));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    random.shuffle(&mut edges);
    edges
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Figures can only be compared if everybody measures on the same graph.
    #[test]
    fn the_graph_is_the_same_everywhere() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("graph");
        let graph = Graph::read_or_make(&dir).unwrap();
        assert_eq!((graph.nodes, graph.edges.len()), (131_072, 1_856_201));
        assert!(graph.edges.iter().all(|(start, end)| start != end));
        let distinct: BTreeSet<_> = graph.edges.iter().collect();
        assert_eq!(distinct.len(), graph.edges.len());
        let files = [graph.nodes_csv(), graph.edges_csv()].map(|path| fs::read(path).unwrap());
        assert_eq!(files.map(|bytes| crc32(&bytes)), [3_858_405_291, 416_765_186]);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
        assert_eq!(Graph::read_or_make(&dir).unwrap().edges, graph.edges);
    }

    #[test]
    fn files_that_do_not_fit_are_refused_with_their_line() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |nodes: &str, edges: &str| {
            fs::write(dir.path().join("nodes.csv"), format!("id,name,age\n{nodes}")).unwrap();
            fs::write(dir.path().join("edges.csv"), format!("src,dst,since\n{edges}")).unwrap();
            Graph::read(dir.path()).map(|graph| graph.edges).map_err(|error| error.to_string())
        };
        assert_eq!(refused("0,user0,1\n1,user1,2\n", "1,0,2000\n").unwrap(), [(1, 0)]);
        assert!(refused("0,user0,1\n2,user2,2\n", "0,0,1\n").unwrap_err().contains("nodes.csv:3:"));
        assert!(refused("0,user0,1\n", "0,1,1\n").unwrap_err().contains("edges.csv:2:"));
        assert!(refused("0,user0,1\n", "").unwrap_err().contains("empty"));
    }

    /// The sum that `cksum -a crc32b` prints, bit by bit.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |sum, &byte| {
            (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
        })
    }
}
