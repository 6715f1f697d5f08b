package probe

func (v Verdict) report() ([]byte, error) { return []byte("x"), nil }
