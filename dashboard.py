from lib.ui import frame

frame.navigation().run()
