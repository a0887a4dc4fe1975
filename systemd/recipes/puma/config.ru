run lambda { |env|
  sleep 0.2 if env["PATH_INFO"] == "/slow"
  body = "#{Process.pid}\n"
  [200, { "content-type" => "text/plain", "content-length" => body.bytesize.to_s }, [body]]
}
