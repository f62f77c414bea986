{
  # One build description is enough: this only hands over to CMake, so that node-gyp, npm and prebuildify work.
  "targets": [
    {
      "target_name": "shoal",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": ["native/CMakeLists.txt"],
          "outputs": ["build/Release/shoal.node"],
          "action": ["npx", "--no-install", "cmake-js", "compile", "-d", "native", "-O", "build"]
        }
      ]
    }
  ]
}
