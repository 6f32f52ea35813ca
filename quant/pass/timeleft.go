package pass

// window estimates the time that is left from the rate of the last while: methods
// and matrices differ too much for the rate since the start, and within a layer
// for less than a layer.
type window struct {
	points [][2]float64 // seconds and work done
	least  float64      // work that it spans
}

const windowSeconds = 20

func (w *window) add(seconds, done float64) {
	w.points = append(w.points, [2]float64{seconds, done})
	for len(w.points) > 2 && w.points[1][0] < seconds-windowSeconds && done-w.points[1][1] >= w.least {
		w.points = w.points[1:]
	}
}

// left is the seconds until total is done.
func (w *window) left(total float64) float64 {
	first, last := w.points[0], w.points[len(w.points)-1]
	work, seconds := last[1]-first[1], last[0]-first[0]
	if total <= last[1] {
		return 0
	}
	if len(w.points) == 1 || work <= 0 {
		work, seconds = last[1], last[0] // all there is
	}
	return seconds * (total - last[1]) / work
}
