package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"nibble/model/source"
)

// client asks a hub.
type client struct {
	Settings
	http   *http.Client
	listen Listener
	pace   pace
}

// pace is how long things may take.
type pace struct {
	silence time.Duration // without a byte, until a connection counts as dropped
	first   time.Duration // before the second try; each further wait is twice as long
	longest time.Duration // that is waited, if the hub asks for it
	tries   int           // in a row that bring nothing
	total   int           // of one file
}

var usualPace = pace{silence: 20 * time.Second, first: 500 * time.Millisecond, longest: 5 * time.Minute, tries: 5, total: 200}

const maxRedirects = 10

func newClient(s Settings, listen Listener) *client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout, t.MaxIdleConnsPerHost = usualPace.silence, parallel
	if listen == nil {
		listen = func(Event) {}
	}
	return &client{Settings: s, listen: listen, pace: usualPace, http: &http.Client{Transport: t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// again is an error that may be gone the next time.
type again struct {
	error
	after time.Duration // that the hub asks to wait, 0 if it does not say
}

func (a *again) Unwrap() error { return a.error }

func retriable(err error) error { return &again{error: err} }

// retry calls try until it works, fails for good, or brought nothing several times.
// try reports whether it brought anything.
func (c *client) retry(ctx context.Context, what string, try func() (brought bool, err error)) error {
	vain, wait := 0, c.pace.first
	for n := 1; ; n++ {
		brought, err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var a *again
		if !errors.As(err, &a) {
			return err
		}
		if brought {
			vain, wait = 0, c.pace.first
		}
		if vain++; vain >= c.pace.tries || n >= c.pace.total {
			return fmt.Errorf("%w (after %d tries)", err, n)
		}
		pause := time.Duration(float64(wait) * (0.75 + rand.Float64()/2)) // not all clients at once
		if a.after > 0 {
			pause = a.after
		}
		if pause > c.pace.longest {
			return fmt.Errorf("%w, for %s: try again after that", err, pause.Round(time.Second))
		}
		wait *= 2
		c.listen(Retrying{What: what, Why: err.Error(), Seconds: pause.Seconds()})
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// answer is the last response, and what was said on the way to it.
type answer struct {
	*http.Response
	commit, etag string
	size         int64 // -1 if unknown
}

// ask sends a request and follows where it is sent on to. The token is for the hub's
// own scheme, host and port. Of what is no success the error tells; about is what was
// asked for.
func (c *client) ask(ctx context.Context, method, at string, header http.Header, about Ref, file string) (*answer, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", about, ErrAnswer, err)
	}
	a := &answer{size: -1}
	for range maxRedirects {
		req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %v", about, ErrAnswer, err)
		}
		for name, values := range header {
			req.Header[name] = values
		}
		req.Header.Set("User-Agent", "nibble")
		own := c.owns(u)
		if own && c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		res, err := c.http.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, retriable(fmt.Errorf("%s: %w: %s: %s", about, ErrNetwork, u.Host, c.clean(networkError(err))))
		}
		if own {
			a.note(res)
		}
		if res.StatusCode/100 == 3 && res.StatusCode != http.StatusNotModified {
			res.Body.Close()
			next, err := u.Parse(res.Header.Get("Location"))
			switch {
			case err != nil || next.Host == "" || next.Scheme != "http" && next.Scheme != "https":
				return nil, fmt.Errorf("%s: %w: it sends on to no address", about, ErrAnswer)
			case u.Scheme == "https" && next.Scheme == "http":
				return nil, fmt.Errorf("%s: %w: it sends on from https to http, at %s", about, ErrAnswer, next.Host)
			case method == http.MethodHead && a.etag != "" && !c.owns(next):
				a.Response = res
				return a, nil
			}
			u = next
			continue
		}
		a.Response = res
		if res.StatusCode/100 == 2 || res.StatusCode == http.StatusRequestedRangeNotSatisfiable && header.Get("Range") != "" {
			return a, nil
		}
		err = c.refusal(a, own, about, file)
		res.Body.Close()
		return nil, err
	}
	return nil, fmt.Errorf("%s: %w: it sends on and on, more than %d times", about, ErrAnswer, maxRedirects)
}

// owns reports whether an address is the hub's own.
func (c *client) owns(u *url.URL) bool {
	port := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme == c.Endpoint.Scheme && strings.EqualFold(u.Hostname(), c.Endpoint.Hostname()) && port(u) == port(c.Endpoint)
}

// note keeps what a response of the hub says about a file. Of several, the one that
// names the content counts.
func (a *answer) note(res *http.Response) {
	if commit := res.Header.Get("X-Repo-Commit"); commit != "" {
		a.commit = commit
	}
	etag, length := res.Header.Get("X-Linked-Etag"), res.Header.Get("X-Linked-Size")
	if etag == "" && res.StatusCode/100 == 2 && a.etag == "" {
		etag, length = res.Header.Get("Etag"), res.Header.Get("Content-Length")
	}
	if etag == "" {
		return
	}
	a.etag, a.size = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`), -1
	if n, err := strconv.ParseInt(length, 10, 64); err == nil && n >= 0 {
		a.size = n
	}
}

// refusal is the error of a response.
func (c *client) refusal(a *answer, own bool, about Ref, file string) error {
	res := a.Response
	code := res.Header.Get("X-Error-Code")
	said := ""
	if text := strings.TrimSpace(res.Header.Get("X-Error-Message")); text != "" {
		said = ": it says " + source.Quote(c.clean(text))
	}
	where, status := about.String(), res.StatusCode
	fail := func(kind error, format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", where, kind, fmt.Sprintf(format, args...))
	}
	switch {
	case !own && (status == http.StatusForbidden || status == http.StatusUnauthorized): // the address was good for some time only
		return retriable(fail(ErrAnswer, "%s refuses the file (%d)%s", res.Request.URL.Host, status, said))
	case code == "GatedRepo":
		hint := "then set HF_TOKEN to a token of that account"
		if c.token != "" {
			hint = "with the account that the token in " + c.tokenFrom + " is of"
		}
		return fail(ErrGated, "accept its licence at %s, %s", c.page(about.Repo), hint)
	case status == http.StatusUnauthorized && c.token != "" && code != "RepoNotFound":
		return fail(ErrToken, "it refuses the token in %s (401): make a new one at %s", c.tokenFrom, c.page("settings/tokens"))
	case status == http.StatusUnauthorized || code == "RepoNotFound" && status == http.StatusForbidden:
		hint := "or set HF_TOKEN if it is private"
		if c.token != "" {
			hint = "and whether the token in " + c.tokenFrom + " may read it"
		}
		return fail(ErrToken, "there is no such model, or it is private (401): check the name, %s", hint)
	case status == http.StatusForbidden:
		return fail(ErrToken, "it is forbidden (403)%s; accept the licence at %s if there is one, and check that the token may read it", said, c.page(about.Repo))
	case code == "RevisionNotFound":
		return fail(ErrNotFound, "the model has no revision %s; see %s", source.Quote(about.Revision), c.page(about.Repo+"/tree/main"))
	case code == "EntryNotFound" || status == http.StatusNotFound && file != "":
		return fail(ErrNotFound, "the model has no file %s; see %s", source.Quote(file), c.page(about.Repo+"/tree/"+about.Revision))
	case status == http.StatusNotFound || status == http.StatusGone:
		what := "model"
		if about.Revision != DefaultRevision {
			what = "model or revision"
		}
		return fail(ErrNotFound, "there is no such %s (%d): check the name at %s", what, status, c.page(about.Repo))
	case status == http.StatusTooManyRequests:
		return &again{fail(ErrBusy, "it has had too many requests (429)%s", said), retryAfter(res)}
	case status >= 500 || status == http.StatusRequestTimeout:
		return &again{fail(ErrBusy, "%s fails (%d)%s", res.Request.URL.Host, status, said), retryAfter(res)}
	}
	return fail(ErrAnswer, "%s answers with %d%s", res.Request.URL.Host, status, said)
}

// retryAfter is how long a response asks to wait.
func retryAfter(res *http.Response) time.Duration {
	v := strings.TrimSpace(res.Header.Get("Retry-After"))
	if n, err := strconv.ParseInt(v, 10, 32); err == nil {
		return time.Duration(max(0, n)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// clean takes the token out of what others say.
func (c *client) clean(s string) string {
	if c.token == "" {
		return s
	}
	return strings.ReplaceAll(s, c.token, "…")
}

// networkError is an error of a connection without the address, which may be signed.
func networkError(err error) string {
	if at := (*url.Error)(nil); errors.As(err, &at) {
		err = at.Err
	}
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was dropped"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "nothing has come for too long"
	}
	return err.Error()
}
