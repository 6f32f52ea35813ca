//go:build linux

// Package ptytest runs programs on a pseudo-terminal for tests: what they leave the
// terminal in is what a user's shell would find.
package ptytest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Session is a program on a terminal of its own.
type Session struct {
	Cmd    *exec.Cmd
	t      testing.TB
	master *os.File
	slave  *os.File
	before unix.Termios
	ended  chan struct{}
	read   chan struct{} // closed when the output has ended

	mu  sync.Mutex
	out bytes.Buffer
}

// Start runs a program that controls a terminal of 80 by 24.
func Start(t testing.TB, cmd *exec.Cmd) *Session {
	t.Helper()
	s := &Session{t: t, Cmd: cmd, ended: make(chan struct{}), read: make(chan struct{})}
	var err error
	if s.master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var number int
	s.control(s.master, func(fd int) {
		must(unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		must(err)
	})
	s.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	must(err)
	s.control(s.slave, func(fd int) {
		must(unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))
		now, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		must(err)
		s.before = *now
	})
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.slave, s.slave, s.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(cmd.Start())
	go s.collect()
	go func() {
		_ = cmd.Wait() // the state tells
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-s.ended
		s.HangUp()
	})
	return s
}

func (s *Session) control(f *os.File, do func(fd int)) {
	s.t.Helper()
	conn, err := f.SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { do(int(fd)) })
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// collect keeps the output and answers where the cursor is, as every terminal does.
func (s *Session) collect() {
	defer close(s.read)
	buf := make([]byte, 4096)
	for {
		n, err := s.master.Read(buf)
		s.mu.Lock()
		s.out.Write(buf[:n])
		s.mu.Unlock()
		if bytes.Contains(buf[:n], []byte("\x1b[6n")) {
			s.Type("\x1b[1;1R")
		}
		if err != nil {
			return
		}
	}
}

// Type presses keys.
func (s *Session) Type(keys string) { _, _ = s.master.WriteString(keys) } // a program may be gone

// Output is what was written to the terminal; after Untidy it is all.
func (s *Session) Output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// Await waits until the output has a text.
func (s *Session) Await(text string) {
	s.t.Helper()
	s.AwaitCount(text, 1)
}

// AwaitCount waits until the output has a text so many times.
func (s *Session) AwaitCount(text string, count int) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); strings.Count(s.Output(), text) < count; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("no %q at the end of %q", text, tail(s.Output()))
		}
	}
}

// HangUp closes the terminal, as who closes its window.
func (s *Session) HangUp() {
	s.slave.Close()
	s.master.Close()
	<-s.read
}

// Ended is closed when the program has ended.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Wait returns how the program ended; one that does not within the time fails the
// test.
func (s *Session) Wait(timeout time.Duration) syscall.WaitStatus {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(timeout):
		before := len(s.Output())
		_ = s.Cmd.Process.Signal(syscall.SIGQUIT) // its goroutines tell why
		<-s.ended
		time.Sleep(time.Second)
		s.t.Fatalf("it does not end: %q\n%s", tail(s.Output()[:before]), s.Output()[before:])
	}
	return s.Cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// Untidy says what a program that has ended left the terminal in, "" if it is as it
// was.
func (s *Session) Untidy() string {
	s.t.Helper()
	var now *unix.Termios
	s.control(s.slave, func(fd int) {
		var err error
		if now, err = unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			s.t.Fatal(err)
		}
	})
	// All output has come when this has.
	const end = "\x00end of the output\x00"
	if _, err := s.slave.WriteString(end); err != nil {
		s.t.Fatal(err)
	}
	s.Await(end)
	out := s.Output()
	var faults []string
	if *now != s.before {
		faults = append(faults, fmt.Sprintf("modes %+v, were %+v", *now, s.before))
	}
	for what, mode := range map[string]string{"the other screen": "?1049", "bracketed paste": "?2004", "mouse": "?1002", "motion": "?1003"} {
		if strings.LastIndex(out, "\x1b["+mode+"h") > strings.LastIndex(out, "\x1b["+mode+"l") {
			faults = append(faults, what)
		}
	}
	if strings.LastIndex(out, "\x1b[?25l") > strings.LastIndex(out, "\x1b[?25h") {
		faults = append(faults, "a hidden cursor")
	}
	return strings.Join(faults, ", ")
}

func tail(text string) string { return text[max(0, len(text)-2000):] }
